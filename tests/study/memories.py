"""The same serving run on four memories, by their timing and by their data sheet's bandwidth: the table of docs/coupling.md.

    python -m tests.study.memories

Llama-3.1-8B on one H100 whose memory is exchanged. Beside ``banked-dram`` stand two of ``bandwidth-latency``: at the
peak of the part, and at what the DRAM gives a stream that is read. The last rows are the same stacks, their rows as
they lie worst.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import yaml
from metronome.hwmodels.interface import MAX_PS, Operation, Template
from metronome.hwmodels.memory import dram_parts
from metronome.hwmodels.memory.banked_dram import BankedDram

from ..accuracy.serving import command

GB = 10**9
MEMORIES = {
    "12 channels of DDR5-4800": ("ddr5-4800", 24, "stream"),
    "5 stacks of HBM2e, 3.2 Gb/s a pin": ("hbm2e-3200", 5, "stream"),
    "5 stacks of HBM3, 5.6 Gb/s": ("hbm3-5600", 5, "stream"),
    "6 stacks of HBM3, 6.4 Gb/s": ("hbm3-6400", 6, "stream"),
    "5 of HBM3, rows of anywhere": ("hbm3-5600", 5, "random"),
    "5 of HBM3, row conflicts": ("hbm3-5600", 5, "strided"),
}
SCENARIO = {
    "name": "memories",
    "seed": 1,
    "workload": {
        "format": "synthetic",
        "num_requests": 100,
        "request_rate": 1,
        "input_tokens": {"distribution": "lognormal", "mean": 900, "sigma": 0.9, "min": 16, "max": 8000},
        "output_tokens": {"distribution": "lognormal", "mean": 250, "sigma": 0.7, "min": 4, "max": 1500},
    },
    "cluster": {"nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 1}}]},
    "instances": [{"name": "chat", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[0:1]"}],
}


def run(folder: Path, name: str, hbm: dict[str, object]) -> tuple[float, float]:
    """Mean TTFT and TPOT, milliseconds."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(SCENARIO | {"components": {"n0.hbm": hbm}}))
    command("run", path, "--quiet", "-o", folder / name)
    result = json.loads((folder / name / "result.json").read_text())
    return result["mean_ttft_ms"], result["mean_tpot_ms"]


def achieved_gb_s(part: str, count: int, pattern: str) -> float:
    """Of a gigabyte that is read."""
    model = BankedDram({"part": part, "count": count})
    model.declare([Template(0, "read", "x", {"pattern": pattern})])
    (done,) = model.advance(MAX_PS, [Operation(0, (GB,))], True).completions
    return GB / (done.finish_ps - done.start_ps) * 1e3


def main() -> int:
    print("| memory | peak, read (GB/s) | TTFT: peak, achieved, detail (ms) | TPOT: peak, achieved, detail (ms) |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (part, count, pattern)) in enumerate(MEMORIES.items()):
            peak, achieved = count * dram_parts.part(part).peak_gb_s, achieved_gb_s(part, count, pattern)
            found = [
                run(Path(folder), f"{number}-{which}", hbm)
                for which, hbm in {
                    "peak": {"model": "bandwidth-latency", "bandwidth_gb_s": peak},
                    "achieved": {"model": "bandwidth-latency", "bandwidth_gb_s": achieved},
                    "detail": {"model": "banked-dram", "part": part, "count": count, "pattern": pattern},
                }.items()
            ]
            ttft, tpot = (
                ", ".join(f"{each[which]:,.1f}" for each in found)
                + f" ({found[0][which] / found[2][which] - 1:+.0%}, {found[1][which] / found[2][which] - 1:+.1%})"
                for which in (0, 1)
            )
            print(f"| {name} | {peak:,.0f}, {achieved:,.0f} | {ttft} | {tpot} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make day`: a hundred instances over a simulated day, with drawn failures and autoscaling, and the same without failures.

    python -m tests.fleet.day [--hours H] [-o FOLDER]

Prints goodput with and without, what the failures cost, whether the same seed gives the same bytes, and writes both report
pages side by side.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import metronome
from metronome.orchestrator.report.html.page import render
from metronome.orchestrator.report.html.run import read
from metronome.orchestrator.report.result import Result

#: Requests, by hour: a working day's shape.
SHAPE = (2, 1, 1, 1, 1, 2, 4, 7, 11, 14, 15, 15, 13, 14, 15, 15, 14, 12, 10, 8, 7, 6, 4, 3)
BUSIEST = 0.8  # requests a second in the busiest hour: most of the instances, at 40 s a request
INSTANCES = 100
SLO_MS = 120_000  # to the first token: three times what a request takes alone


def scenario(hours: float = 24, instances: int = INSTANCES, failures: bool = True) -> dict[str, Any]:
    """``hours`` of the day, each ``hours / 24`` long; eight accelerators a node. Long documents and short answers."""
    length = hours * 3600 / len(SHAPE)
    rates = [{"rate": BUSIEST * part / max(SHAPE), "duration_s": length} for part in SHAPE]
    sent = round(sum(rate["rate"] * length for rate in rates))
    nodes = -(-instances // 8)
    counts = [min(8, instances - 8 * i) for i in range(nodes)]
    made: dict[str, Any] = {
        "name": "day",
        "seed": 11,
        "workload": {
            "format": "synthetic",
            "num_requests": sent,
            "rates": rates,
            "input_tokens": {"mean": 50_000, "sigma": 0.3, "max": 80_000},
            "output_tokens": {"mean": 4, "max": 8},
        },
        "cluster": {
            "nodes": [
                {"name": f"n{i}", "accelerators": {"type": "l4", "count": count}} for i, count in enumerate(counts)
            ]
        },
        "instances": [
            {
                "name": "chat",
                "model": "meta-llama/Llama-3.1-8B",
                "quantization": "fp8",
                "accelerators": [f"n{i}[0:{count}]" for i, count in enumerate(counts)],
                "replicas": instances,
                "tensor_parallel_size": 1,
                "engine": {"max_model_len": 81_920, "max_num_seqs": 2, "max_num_batched_tokens": 16_384},
            }
        ],
        "router": {"policy": "least-loaded", "report_period_s": 10, "max_waiting": 16},
        "on_failure": {"retry_s": 2},
        "start_up": {"base_s": 20, "weights_gb_s": 1},
        "autoscaling": [{"instance": "chat", "min_replicas": 4, "policy": "queue", "target": 0.5, "period_s": 15}],
        "slo": {"ttft_ms": SLO_MS},
    }
    if failures:
        made["failures"] = [
            {"mtbf_s": 20 * hours * 3600, "instance": "chat-*", "repair_s": 60},
            {"mtbf_s": 4 * hours * 3600, "node": "n*", "repair_s": 600},
        ]
    return made


FILES = ("requests.csv", "failed.csv", "timeseries.csv")

Runs = dict[str, tuple[Path, Result]]


def runs(hours: float, output: Path) -> Runs:
    """The day with failures, the same again, and without; prints a line each."""
    found: Runs = {}
    for name in ("with failures", "again", "without"):
        folder, start = output / name.replace(" ", "-"), time.perf_counter()
        result = metronome.run(scenario(hours, failures=name != "without"), folder)
        found[name] = folder, result
        own = result["metronome"]["availability"]
        broken = sum(one["failures"] for one in own["instances"].values())
        good = result["request_goodput"] * result["duration"] / result["num_prompts"]
        serving = [row[-1] for row in result.series.rows]
        print(
            f"{name}: {result['completed']:,} requests of {result['num_prompts']:,}, {good:.2%} within the SLO, "
            f"median and P99 TTFT {result['median_ttft_ms'] / 1000:.1f} and {result['p99_ttft_ms'] / 1000:.1f} s, "
            f"{broken} failures of instances, {own['lost']} requests lost, {own['retried']} sent again, "
            f"{own['shed']} not let in, {min(serving)} to {max(serving)} instances, "
            f"{own['instance_hours']:.0f} instance hours, {result['metronome']['energy_j'] / 3.6e6:.1f} kWh; "
            f"{time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return found


def differing(one: Path, other: Path) -> list[str]:
    """Files of two runs whose bytes differ."""
    there = [name for name in FILES if (one / name).exists() or (other / name).exists()]
    return [name for name in there if (one / name).read_bytes() != (other / name).read_bytes()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make day", description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/day"))
    given = parser.parse_args()
    found = runs(given.hours, given.output)
    other = differing(found["with failures"][0], found["again"][0])
    print(f"the same seed again: {', '.join(other)} differ" if other else "the same seed again: the same bytes")
    (given.output / "report.html").write_text(render(read([found["with failures"][0], found["without"][0]])))
    return int(bool(other))


if __name__ == "__main__":
    sys.exit(main())

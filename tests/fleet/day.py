"""`make day`: a hundred instances over a simulated day, with drawn failures and autoscaling, and the same without failures.

    python -m tests.fleet.day [--hours H] [-o FOLDER]

Prints goodput with and without, what the failures cost, and writes both report pages side by side.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import metronome
from metronome.orchestrator.report.html.page import render
from metronome.orchestrator.report.html.run import read

#: Requests a second, by hour: a working day's shape.
SHAPE = (2, 1, 1, 1, 1, 2, 4, 7, 11, 14, 15, 15, 13, 14, 15, 15, 14, 12, 10, 8, 7, 6, 4, 3)
BUSIEST = 1.5  # requests a second in the busiest hour
INSTANCES = 100


def scenario(hours: float = 24, instances: int = INSTANCES, failures: bool = True) -> dict[str, Any]:
    """``hours`` of the day, each ``hours / 24`` long; eight accelerators a node."""
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
            "input_tokens": {"mean": 1500, "max": 7000},
            "output_tokens": {"mean": 60, "max": 400},
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
                "engine": {"max_model_len": 8192, "max_num_seqs": 8},
            }
        ],
        "router": {"policy": "least-loaded", "report_period_s": 1, "max_waiting": 16},
        "on_failure": {"retry_s": 2},
        "start_up": {"base_s": 20, "weights_gb_s": 1},
        "autoscaling": [{"instance": "chat", "min_replicas": 4, "policy": "kv", "target": 0.4, "period_s": 15}],
        "slo": {"ttft_ms": 5000, "tpot_ms": 100},
    }
    if failures:
        made["failures"] = [
            {"mtbf_s": 20 * hours * 3600, "instance": "chat-*", "repair_s": 60},
            {"mtbf_s": 4 * hours * 3600, "node": "n*", "repair_s": 600},
        ]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(prog="make day", description=__doc__)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/day"))
    given = parser.parse_args()
    folders = []
    for name, failures in (("with failures", True), ("without", False)):
        folder, start = given.output / name.replace(" ", "-"), time.perf_counter()
        result = metronome.run(scenario(given.hours, failures=failures), folder)
        folders.append(folder)
        found = result["metronome"]["availability"]
        broken = sum(one["failures"] for one in found["instances"].values())
        print(
            f"{name}: {result['completed']:,} requests of {result['num_prompts']:,}, "
            f"{result['request_goodput']:.4f} a second within the SLO, P99 TTFT {result['p99_ttft_ms']:,.0f} ms, "
            f"{broken} failures of instances, {found['lost']} requests lost, {found['retried']} sent again, "
            f"{found['shed']} not let in, {found['instance_hours']:.1f} instance hours; "
            f"{time.perf_counter() - start:.0f} s"
        )
    (given.output / "report.html").write_text(render(read(folders)))


if __name__ == "__main__":
    main()

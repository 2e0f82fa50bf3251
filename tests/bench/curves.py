"""How the cost of a run grows: with the batch, the instances, the requests, and what a sweep's workers gain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import yaml
from metronome.orchestrator.sweep.schema import Sweep
from metronome.orchestrator.sweep.study import Study

from ..conftest import ROOT
from .measure import Run, alternating, table

BATCHES = (8, 32, 128, 512, 1024)
MOST_BLOCKS = 60  # of 16 tokens, that a request of this curve holds at the end
INSTANCES = (1, 4, 16, 64)
REQUESTS = (100, 1_000, 10_000)
EACH = 50  # requests an instance
POINTS, WORKERS = 24, (1, 2)


def batches(rounds: int, folder: Path) -> Iterator[str]:
    """All requests are there at once, so that every step decodes as many as may run; there is K and V for all."""
    runs = {}
    for batch in BATCHES:
        workload = {"format": "synthetic", "num_requests": 2 * batch, "request_rate": 10_000}
        workload |= {"input_tokens": {"mean": 64, "max": 128}, "output_tokens": {"mean": 400, "max": 800}}
        content = {**_quickstart(), "workload": workload}
        content["instances"] = content["instances"][:1]
        content["instances"][0]["engine"] |= {"max_num_seqs": batch, "num_gpu_blocks_override": batch * MOST_BLOCKS}
        runs[str(batch)] = (_written(content, folder / f"batch{batch}.yaml"),)
    found = alternating(runs, rounds, folder)
    base = found[str(BATCHES[0])].step_us
    yield from table(
        ("sequences at most", "steps", "loop, µs a step", "ratio"),
        [(name, f"{run.steps:,.0f}", f"{run.step_us:.0f}", f"{run.step_us / base:.2f}") for name, run in found.items()],
    )


def instances(rounds: int, folder: Path) -> Iterator[str]:
    """One device and the same load each."""
    runs = {str(count): (_written(_fleet(count), folder / f"instances{count}.yaml"),) for count in INSTANCES}
    yield from _by_request("instances", alternating(runs, rounds, folder), {str(n): EACH * n for n in INSTANCES})


def workers(rounds: int, folder: Path) -> Iterator[str]:
    """One run of most instances, whose router looks at none, in as many parts as workers."""
    content = {**_fleet(INSTANCES[-1]), "router": {"policy": "round-robin"}}
    scenario = _written(content, folder / "split.yaml")
    found = alternating({str(count): (scenario, "--workers", str(count)) for count in WORKERS}, rounds, folder)
    base = found[str(WORKERS[0])].command_s
    yield from table(
        ("workers", "command, s", "times faster"),
        [(name, f"{run.command_s:.2f}", f"{base / run.command_s:.2f}") for name, run in found.items()],
    )


def requests(rounds: int, folder: Path) -> Iterator[str]:
    """The quick start, longer: the workload is a stream, but a row of every request is kept for the results."""
    runs = {f"{count:,}": ("quickstart", "--set", f"workload.num_requests={count}") for count in REQUESTS}
    yield from _by_request("requests", alternating(runs, rounds, folder), {f"{n:,}": n for n in REQUESTS})


def sweep(folder: Path) -> Iterator[str]:
    """Wall time of the same points by one and by two workers, one after the other."""
    axes = {"seed": {"low": 1, "high": POINTS, "count": POINTS, "whole": True}}
    asked = Sweep.model_validate({"scenario": "quickstart", "axes": axes})
    took = {}
    for workers in WORKERS:
        start = time.perf_counter()
        Study(asked, folder, folder / f"sweep{workers}", workers).run()
        took[workers] = time.perf_counter() - start
    yield from table(
        ("workers", f"{POINTS} points, s", "times faster"),
        [(workers, f"{seconds:.1f}", f"{took[1] / seconds:.2f}") for workers, seconds in took.items()],
    )


def _by_request(what: str, found: dict[str, Run], counts: dict[str, int]) -> Iterator[str]:
    each = {name: run.loop_s / counts[name] * 1e3 for name, run in found.items()}
    base = next(iter(each.values()))
    yield from table(
        (what, "loop, s", "ms a request", "ratio", "peak MiB"),
        [
            (name, f"{run.loop_s:.2f}", f"{each[name]:.2f}", f"{each[name] / base:.2f}", f"{run.peak_mib:.0f}")
            for name, run in found.items()
        ],
    )


def _fleet(count: int) -> dict:
    content = _quickstart()
    content["cluster"] = {"nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": count}}]}
    content["instances"] = [
        {"name": "chat", "model": "meta-llama/Llama-3.1-8B", "accelerators": f"n0[0:{count}]", "replicas": count}
    ]
    content["workload"] |= {"num_requests": EACH * count, "request_rate": 5 * count}
    return content


def _quickstart() -> dict:
    return yaml.safe_load((ROOT / "scenarios/quickstart.yaml").read_text())


def _written(content: dict, path: Path) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path

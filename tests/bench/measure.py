"""Runs of the command, timed, and tables of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from ..conftest import ROOT

Arguments = tuple[object, ...]


class Run(NamedTuple):
    """``command_s`` and ``loop_s`` of wall time, simulated ``steps``, and what the process held at most."""

    command_s: float
    loop_s: float
    steps: int
    peak_mib: float

    @property
    def step_us(self) -> float:
        return self.loop_s / self.steps * 1e6


def measure(scenario: Arguments, folder: Path) -> Run:
    """One run of `metronome run`."""
    start = time.perf_counter()
    peak_mib = metronome("run", *scenario, "-o", folder / "out", "--quiet")
    command = time.perf_counter() - start
    own = json.loads((folder / "out/result.json").read_text())["metronome"]
    return Run(command, own["wall_s"], own["steps"], peak_mib)


def alternating(runs: Mapping[str, Arguments], rounds: int, folder: Path) -> dict[str, Run]:
    """Medians of each way to run; interleaved, so that all meet the same noise."""
    found: dict[str, list[Run]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, arguments in runs.items():
            found[name].append(measure(arguments, folder))
    return {name: Run(*map(statistics.median, zip(*each, strict=True))) for name, each in found.items()}


def metronome(*arguments: object) -> float:
    """Returns the largest size of the process, MiB; of its components only where they are larger."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [sys.executable, "-m", "metronome", *map(str, arguments)],
        cwd=ROOT,
        env=environment,  # modules are compiled once, as after any first run
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return usage.ru_maxrss / 1024


def loop_of(folder: Path) -> float:
    return float(json.loads((folder / "result.json").read_text())["metronome"]["wall_s"])


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """In Markdown; figures to the right."""
    first, *rest = heads
    yield f"| {' | '.join([first, *rest])} |"
    yield f"|---|{'---:|' * len(rest)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"

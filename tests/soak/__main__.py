"""`make soak`: a million operations through one component process, of each reference model; memory must stay flat.

    python -m tests.soak [COUNT] [--model NAME]

After the first tenth the resident memory of both sides may not rise by more than 1 % (a line fitted to 90 readings).
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from metronome.adapters.conformance.checks import operations
from metronome.adapters.conformance.sessions import local
from metronome.hwmodels.interface import MAX_PS, Operation, TimePolicy
from metronome.orchestrator.coupling import registry
from metronome.orchestrator.coupling.components import ComponentSpec
from metronome.orchestrator.coupling.launch.process import open_processes
from metronome.orchestrator.coupling.link import Link
from metronome.orchestrator.scenario.components import ComponentOptions

from ..hwmodels import bundles
from ..hwmodels.test_conformance import CONFIGS

#: The array that asks a memory, with one: alone nobody answers it. Large requests, for each is a message of its own; and
#: operations of few tiles (LIGHT), each of which is played.
ISLAND = {
    "members": {
        "it": {"model": "systolic-mem", "request_bytes": 2**20, "most_tiles": 4},
        "hbm": {"model": "bandwidth-latency", "bandwidth_gb_s": 500, "latency_ns": 50},
    },
    "wires": [{"from": "it.mem", "to": "hbm"}],
}
MODELS = {name: config for name, config in CONFIGS.items() if name != "systolic-mem"} | {
    "island": ISLAND,
    "profiled": {},
}
LIGHT = ("norm", "sampler")
#: `profiled` needs to know whose layers it is asked for.
OF_A_MODEL = {"model": "meta-llama/Llama-3.1-8B", "tp": 1}

BATCH = 200
READINGS = 100
SLOPE = 0.01  # of the memory after the first tenth
WINDOW_PS = 10**12  # a batch of a component with a clock
SPACING_PS = WINDOW_PS // BATCH // 2


def resident(pid: int | str) -> int:
    """Bytes of a process that are in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has gone")


def slope(readings: list[int]) -> float:
    """How far a line through the readings after the first tenth rises, as a share of where it begins."""
    kept = np.array(readings[len(readings) // 10 :], dtype=float)
    rise, begin = np.polyfit(np.arange(len(kept)), kept, 1)
    return float(rise * (len(kept) - 1) / begin)


def work(name: str, config: dict) -> tuple[list, list[Operation]]:
    subject = local(registry.find(name), config, OF_A_MODEL if name == "profiled" else {})
    if name == "island":
        subject = replace(subject, templates=tuple(t for t in subject.templates if t.kind in LIGHT))
    return list(subject.templates), operations(subject, BATCH, spacing_ps=0)


class Feed:
    """Batches of one model's operations, each of other sizes than the last."""

    def __init__(self, link: Link, batch: list[Operation]) -> None:
        self._link, self._batch = link, batch
        self._clocked = link.description.time_policy in (TimePolicy.CONSERVATIVE, TimePolicy.FORWARD_ONLY)
        self._next, self._now = 0, 0

    def send(self) -> None:
        """One batch, to its end; a component with a clock does it after the last."""
        grow = self._next // len(self._batch) % 100  # then sizes come again
        sent = [
            one._replace(
                op_id=self._next + i, at_ps=self._now + i * SPACING_PS, values=(one.values[0] + grow, *one.values[1:])
            )
            for i, one in enumerate(self._batch)
        ]
        self._next += len(sent)
        grant = self._now + WINDOW_PS
        answer = self._link.advance(grant if self._clocked else MAX_PS, sent, False)
        if len(answer.completions) != len(sent):
            raise RuntimeError(f"{len(answer.completions)} of {len(sent)} operations completed within a second")
        if self._clocked:
            self._now = grant


def soak(name: str, count: int) -> tuple[float, float, float]:
    """(slope of the component, slope of this process, operations a second)."""
    if name != "profiled":
        return run(name, MODELS[name], count)
    with TemporaryDirectory() as folder:
        bundles.write(Path(folder))
        return run(name, {"bundle": folder}, count)


def run(name: str, config: dict, count: int) -> tuple[float, float, float]:
    templates, batch = work(name, config)
    kind = registry.find(name).description.kind
    spec = ComponentSpec("n0.it", kind, 0, name, config, ComponentOptions(run="process"), 1)
    batches = max(READINGS, count // BATCH)
    theirs, ours = [], []
    with open_processes([spec], None) as links:
        link = links[spec.name]
        link.declare(templates)
        feed, start = Feed(link, batch), time.perf_counter()
        for number in range(batches):
            feed.send()
            if number * READINGS // batches != (number + 1) * READINGS // batches:
                theirs.append(resident(link.host.pid))
                ours.append(resident("self"))
        spent = time.perf_counter() - start
        link.close()
    return slope(theirs), slope(ours), batches * BATCH / spent


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--model", choices=sorted(MODELS))
    given = parser.parse_args()
    bad = []
    for name in [given.model] if given.model else MODELS:
        theirs, ours, rate = soak(name, given.count)
        flat = max(theirs, ours) < SLOPE
        print(f"{name}: component {theirs:+.2%}, orchestrator {ours:+.2%}, {rate:,.0f} operations/s", flush=True)
        bad += [] if flat else [name]
    if bad:
        sys.exit(f"not flat: {', '.join(bad)}")


if __name__ == "__main__":
    main()

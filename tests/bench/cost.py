"""How many calls of functions a step takes: the cost of a run by a count that a machine's load does not move.

    python -m tests.bench.cost SCENARIO [KEY=VALUE ...]

prints a step's calls, Python's and C's, after the simulation is built. The same code makes the same number of them.
"""

from __future__ import annotations

import subprocess
import sys
from types import FrameType
from typing import Any

from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation

from ..conftest import ROOT


def calls_a_step(scenario: str, *changes: str) -> float:
    """In a process of its own: what others have done leaves remembered answers behind."""
    asked = [sys.executable, "-m", "tests.bench.cost", scenario, *changes]
    return float(subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def main(name: str, *changes: str) -> None:
    scenario, folder = load(name, changes)
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    with Simulation(scenario, folder) as simulation:
        sys.setprofile(count)
        simulation.run()
        sys.setprofile(None)
        print(calls / simulation.recorder.steps)


if __name__ == "__main__":
    main(*sys.argv[1:])

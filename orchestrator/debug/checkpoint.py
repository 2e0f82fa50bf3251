"""Copies of a simulation at rest between two events, to go back to."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ..simulation import Simulation


def copy_of(simulation: Simulation) -> Simulation:
    """An independent copy: running one never changes the other.

    What never changes is shared: the scenario, plans, requests, and sequences that are done. Links share
    what is behind them, so a copy may run only as far as their answers are known, or alone.
    """
    memo: dict[int, Any] = {id(thing): thing for thing in simulation.constant}
    memo.update((id(sequence), sequence) for sequence in simulation.recorder.done)
    return deepcopy(simulation, memo)

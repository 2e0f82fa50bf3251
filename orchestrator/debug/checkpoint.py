"""Copies of a simulation at rest between two events, to go back to."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ..kernel.queue import Event
from ..simulation import Simulation


def copy_of(simulation: Simulation, event: Event | None) -> tuple[Simulation, Event | None]:
    """Independent copies of a run and of the event it rests before: running one never changes the other.

    What never changes is shared: the scenario, plans, requests, and sequences that are done. Links share
    what is behind them, so a copy may run only as far as their answers are known, or alone.
    """
    memo: dict[int, Any] = {id(thing): thing for thing in simulation.constant}
    memo.update((id(sequence), sequence) for sequence in simulation.recorder.done)
    return deepcopy((simulation, event), memo)

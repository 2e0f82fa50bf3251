"""How long each instance did what, and what failures took from the requests: only where instances come and go."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..instruments.recorder import Change
from ..units import PS_PER_S

SERVING = "serving"


def availability(names: list[str], changes: list[Change], end_ps: int) -> dict[str, Any]:
    """``instances``: seconds in each state and how often it failed, by name; ``instance_hours`` of all that were there:
    serving, starting or draining."""
    found: dict[str, Any] = {}
    there = 0.0
    for name in names:
        spent: Counter[str] = Counter()
        state, since, failures = SERVING, 0, 0
        for change in [*(one for one in changes if one.instance == name), Change(name, "", end_ps)]:
            spent[state] += change.time_ps - since
            state, since = change.state, change.time_ps
            failures += state == "failed"
        seconds = {f"{state}_s": time / PS_PER_S for state, time in sorted(spent.items())}
        there += sum(seconds.get(f"{state}_s", 0) for state in (SERVING, "starting", "draining"))
        found[name] = {**seconds, "failures": failures}
    return {"instances": found, "instance_hours": there / 3600}


def serving(names: list[str], changes: list[Change], edges_ps: NDArray[np.int64]) -> list[int]:
    """How many instances serve at each of these times, ascending."""
    state = dict.fromkeys(names, SERVING)
    counts, place = [], 0
    for edge in edges_ps.tolist():
        while place < len(changes) and changes[place].time_ps <= edge:
            state[changes[place].instance] = changes[place].state
            place += 1
        counts.append(sum(each == SERVING for each in state.values()))
    return counts

"""A run of any length needs the same memory of a network model."""

from __future__ import annotations

import tracemalloc

from metronome.hwmodels.interface import Operation
from metronome.hwmodels.network.fabric import meaning

from .test_fabric import collective, fabric

RANKS = ("n0.0", "n0.1", "n0.2", "n0.3")


def test_fabric_keeps_nothing_of_what_is_over(monkeypatch):
    """Every operation of another size: each size was kept for ever, 167 bytes an operation."""
    monkeypatch.setattr(meaning, "REMEMBERED", 500)  # what it remembers of shapes; else 100,000
    made = fabric([collective(0, "all_reduce", RANKS)])
    now, marks = 0, []
    tracemalloc.start()
    for i in range(3_000):
        done = made.advance(10**15, [Operation(0, (1000 + i,), i, now)], True)
        now = done.reached_ps
        if i in (1_499, 2_999):  # as many remembered
            marks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert marks[1] - marks[0] < 1_500 * 20, marks
    assert len(made.snapshot()["carried"]) <= 4

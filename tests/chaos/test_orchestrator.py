"""The short form of `python -m tests.chaos.orchestrator`."""

from __future__ import annotations

import signal

import pytest

from .orchestrator import Moment, Victims

#: Seeds of which every kind comes to be: in processes and not, killed once and twice, told to end.
SHORT = [
    ("data-parallel", 5, signal.SIGKILL),
    ("slow-link", 1, signal.SIGKILL),
    ("tensor-parallel", 2, signal.SIGTERM),
    ("quickstart", 4, signal.SIGTERM),
]


@pytest.mark.parametrize(("name", "seed", "number"), SHORT)
def test_a_run_that_was_killed_or_told_to_end_goes_on(name, seed, number, tmp_path):
    ended = Victims(tmp_path, 6).ended(name, seed, number)
    assert ended.problem == "" and ended.how != "missed", ended


def test_moments_are_drawn_from_their_seed():
    moments = [Moment.drawn(seed, 1000) for seed in range(100)]
    assert moments == [Moment.drawn(seed, 1000) for seed in range(100)]
    assert {moment.block for moment in moments} == {64, 1024} and any(moment.after_s == 0 for moment in moments)
    assert min(moment.event for moment in moments) < 100 and max(moment.event for moment in moments) > 900

"""The short form of `make soak`."""

from __future__ import annotations

import pytest

from .__main__ import SLOPE, slope, soak


def test_a_leak_is_a_slope():
    assert slope([100] * 100) == pytest.approx(0) and slope(list(range(1000, 1100))) > 0.08
    assert slope([0] * 10 + [100] * 90) == pytest.approx(0)  # what a start takes is none


@pytest.mark.parametrize("name", ["bandwidth-latency", "roofline"])
def test_memory_stays_flat(name):
    theirs, ours, _ = soak(name, 60_000)
    assert theirs < SLOPE and ours < 3 * SLOPE  # this process is the suite's

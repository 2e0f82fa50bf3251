"""Energy by second is the energy: whatever the stretches, wherever they begin and end."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.power.account import Account, merged, without
from metronome.orchestrator.units import PS_PER_S

ENDS = st.integers(0, 6 * PS_PER_S)
STRETCHES = st.lists(st.tuples(ENDS, ENDS).map(sorted), min_size=1, max_size=20)


def account(stretches, joules):
    times = np.array(stretches, dtype=np.int64)
    return Account("n0", "x", times[:, 0], times[:, 1], np.array(joules, dtype=float))


@given(STRETCHES)
def test_seconds_add_up_to_the_total(stretches):
    made = account(stretches, [1 + 0.1 * place for place in range(len(stretches))])
    assert made.in_bins(7).sum() == pytest.approx(made.total_j, rel=1e-12)


def test_a_stretch_is_spread_evenly_over_its_seconds():
    made = account([(PS_PER_S // 2, 3 * PS_PER_S)], [5])
    assert made.in_bins(4).tolist() == pytest.approx([1, 2, 2, 0])
    assert account([(PS_PER_S, PS_PER_S)], [3]).in_bins(2).tolist() == [0, 3]  # in no time


def test_steady_watts():
    made = Account.steady("n0", "x", 10, [(0, 2 * PS_PER_S), (3 * PS_PER_S, 7 * PS_PER_S // 2)])
    assert made.total_j == 25 and made.in_bins(4).tolist() == [10, 10, 0, 5]
    assert Account.steady("n0", "x", 10, []).in_bins(2).tolist() == [0, 0]


@given(STRETCHES, st.integers(0, PS_PER_S))
def test_merged_covers_what_the_stretches_cover(stretches, hold):
    times = np.array(stretches, dtype=np.int64)
    found = merged(times[:, 0], times[:, 1], hold)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    for since, until in stretches:
        assert any(a <= since and until + hold <= b for a, b in found)
    points = {end for stretch in stretches for end in (stretch[0], stretch[1] + hold)}
    assert {end for stretch in found for end in stretch} <= points


def test_without_cuts_holes():
    assert without([(0, 10), (20, 30)], [(2, 4), (9, 22), (40, 50)]) == [(0, 2), (4, 9), (22, 30)]
    assert without([(0, 10)], [(0, 10)]) == []

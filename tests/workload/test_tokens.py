"""Token ids made when they are asked for."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.workload.tokens import FRESH, MOST_GROUPS, MOST_TOKENS, TokenRuns, prefixed

RUNS = st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 20)), min_size=1, max_size=5)


@given(RUNS, st.integers(0, 110), st.integers(0, 110))
def test_runs_read_as_an_array(runs, start, end):
    plain = array("q", [first + i for first, count in runs for i in range(count)])
    found = TokenRuns(runs)
    assert len(found) == len(plain) and found[start:end] == plain[start:end]
    assert found.tobytes() == plain.tobytes()


def test_only_whole_stretches_can_be_read():
    with pytest.raises(ValueError):
        TokenRuns([(0, 4)])[::2]


def test_no_prefix_has_ids_of_another_or_of_anybody_else():
    last = prefixed(MOST_GROUPS - 1, MOST_TOKENS, FRESH, 1)
    assert last[MOST_TOKENS - 1 : MOST_TOKENS + 1].tolist() == [FRESH - 1, FRESH]
    assert prefixed(0, MOST_TOKENS, FRESH, 0)[MOST_TOKENS - 1 :].tolist() == [MOST_TOKENS - 1]
    assert prefixed(1, 1, FRESH, 0)[:].tolist() == [MOST_TOKENS]

"""Figures from step logs and requests: against a plain statement of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.instruments.ended import EndedRequests
from metronome.orchestrator.instruments.gaps import Gaps
from metronome.orchestrator.instruments.recorder import Kept
from metronome.orchestrator.report.metrics import latencies, summary
from metronome.orchestrator.serving.request_state import RequestState
from metronome.orchestrator.workload.request import Request

MS = 10**9


def done(arrival_ms, first_ms, end_ms, output, steps=()):
    state = RequestState(Request(0, arrival_ms * MS, 1, output))
    state.first_token_ps, state.end_ps, state.token_steps = first_ms * MS, end_ms * MS, list(steps)
    return state


def kept(ended, *delivered_ms):
    """Of requests that have ended, and steps of each log."""
    times = [np.array([ms * MS for ms in log], dtype=np.int64) for log in delivered_ms]
    gaps = Gaps().extended([(log, log) for log in times], ended, None)
    return Kept(requests=EndedRequests().extended(ended), gaps=gaps)


def test_times_of_a_request():
    """TPOT is of the tokens after the first: 100 ms for ten of eleven. One token has none."""
    found = latencies(kept([done(5, 15, 115, 11), done(7, 10, 10, 1), done(1, 2, 6, 2)]))
    assert found.ttft.tolist() == [10, 3, 1] and found.e2el.tolist() == [110, 3, 5]
    assert found.tpot[[0, 2]].tolist() == [10, 4] and np.isnan(found.tpot[1])
    assert summary("x", found.tpot)["mean_x"] == 7


@pytest.mark.parametrize(
    ("requests", "logs", "gaps"),
    [
        ([[(0, 0, 3)]], [(10, 20, 45)], {10: 1, 25: 1}),
        ([[(0, 0, 3)], [(0, 1, 3)]], [(10, 20, 45)], {10: 1, 25: 2}),  # kept once, for both
        ([[(0, 1, 2)]], [(10, 20, 45)], {}),  # one token
        ([[(0, 0, 1), (0, 3, 4)]], [(10, 20, 45, 60)], {50: 1}),  # preempted in between
        ([[(0, 0, 2), (1, 1, 3)]], [(10, 20), (15, 50, 80)], {10: 1, 30: 2}),  # on to another engine
        ([[(0, 0, 1), (1, 0, 1)]], [(30,), (20,)], {0: 1}),  # whose servers were quicker: not before
        ([[(0, 0, 2)], [(1, 0, 2)]], [(1, 3), (5, 8)], {2: 1, 3: 1}),
    ],
)
def test_gaps_between_tokens(requests, logs, gaps):
    found = latencies(kept([done(0, 0, 0, 9, steps) for steps in requests], *logs))
    counted = {}
    for value, weight in zip(found.itl.tolist(), found.itl_weights.tolist(), strict=True):
        counted[value] = counted.get(value, 0) + weight
    assert counted == gaps


values = st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 6)), min_size=1, max_size=30)


@given(values)
def test_a_summary_is_numpys_of_the_values_repeated(drawn):
    sizes, weights = (np.array(column) for column in zip(*drawn, strict=True))
    found, whole = summary("x", sizes.astype(float), weights), np.repeat(sizes.astype(float), weights)
    for name, percent in (("median", 50), ("p90", 90), ("p95", 95), ("p99", 99)):
        assert found[f"{name}_x"] == pytest.approx(np.percentile(whole, percent), abs=1e-6)
    assert found["mean_x"] == pytest.approx(whole.mean()) and found["std_x"] == pytest.approx(whole.std(), abs=1e-3)
    plain = summary("x", whole)
    assert plain == {key: pytest.approx(value, abs=1e-3) for key, value in found.items()}


def test_a_summary_of_nothing_and_of_what_is_no_number():
    keys = {f"{what}_x" for what in ("mean", "std", "median", "p90", "p95", "p99")}
    assert summary("x", np.array([])) == dict.fromkeys(keys)
    assert summary("x", np.array([np.nan])) == dict.fromkeys(keys)
    found = summary("x", np.array([np.nan, 4.0, 2.0]), np.array([9, 1, 3]))
    assert found["mean_x"] == 2.5 and set(found) == keys

"""The short form of `make explanations`, and what holds of every counterfactual."""

from __future__ import annotations

import pytest
from metronome.orchestrator.debug.beside import Change
from metronome.orchestrator.debug.charges import ledger
from metronome.orchestrator.debug.counterfactual import counterfactual
from metronome.orchestrator.debug.why import why

from .__main__ import summary
from .check import cases, others
from .scenarios import KINDS, opened


@pytest.mark.parametrize("kind", KINDS)
def test_the_latency_falls_by_what_is_blamed_or_the_answer_says_that_it_does_not(kind):
    found = list(cases(kind, 1, 40, 5))
    assert len(found) == 5
    for case in found:
        assert case.found.as_blamed or case.said, case
        if case.comparable:
            assert case.found.as_blamed, case
    assert sum(case.found.as_blamed for case in found) >= 3, summary(found)


@pytest.mark.parametrize("kind", ["places", "budget", "link"])
def test_limits_policies_and_several_changes_gain_no_more_than_is_said(kind):
    found = list(others(kind, 1, 40, 8))
    said = [case for case in found if case.found.bounds]
    assert len(said) >= 5 and all(case.found.as_blamed or case.said for case in said), [str(case) for case in found]
    assert all(case.found.bounds.least_ps is None for case in said)
    if kind == "places":  # they gain most of it, at times: what is said is near what there is
        assert max(case.found.saved_ps / case.found.bounds.most_ps for case in said) > 0.5


def test_nothing_is_said_where_another_instance_might_serve():
    with opened("link", 0, 30) as session:
        session.run()
        with ledger(session) as books:
            found = [
                counterfactual(session, one, Change((), {"router.policy": "round-robin"}), books)
                for one in books.answers
            ]
    assert any(case.bounds is None for case in found)
    assert all(case.as_blamed for case in found if case.bounds)


def test_what_surely_falls_does():
    """Bounds that are not about nothing: one side of them is on one side of 0."""
    found = [case for case in cases("prompts", 0, 40, 8) if case.found.bounds.least_ps > 0]
    assert len(found) >= 4 and all(case.found.saved_ps > 0 for case in found)


def test_who_came_after_the_end_costs_nothing():
    with opened("prompts", 3, 20) as session:
        session.run()
        with ledger(session) as books:
            ends = {number: books.arrived_ps[number] + one.total_ps for number, one in books.answers.items()}
            first = min(ends, key=lambda number: ends[number])
            late = [number for number, arrived in books.arrived_ps.items() if arrived > ends[first]]
            assert len(late) > 3
            assert not {charge.request for charge in books.charges(first)} & set(late)
            found = counterfactual(session, first, Change((late[0],)), books)
            assert found.saved_ps == 0 and found.there.before == why(session, first).before
            assert found.as_blamed and (found.parts_ps is None or found.parts_ps >= ends[first])


def test_bounds_that_are_wrong_would_be_found():
    """The check itself: were nothing said of prompts in steps, it would fail."""
    wrong = 0
    for case in cases("prompts", 0, 40, 8):
        bounds = case.found.bounds
        bounds.steps_least = bounds.steps_most = bounds.knock_on = 0
        wrong += not case.found.as_blamed
    assert wrong >= 4

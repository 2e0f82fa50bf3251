"""The short form of `python -m tests.containers.kills`."""

from __future__ import annotations

from .kills import SCENARIOS, struck


def test_a_run_whose_container_is_killed_or_paused_ends_as_if_undisturbed(engine, image):
    known = {}
    outcomes = [struck(engine, image, seed, known) for seed in range(len(SCENARIOS) + 1)]
    assert [one for one in outcomes if one.problem] == []
    assert any(one.recoveries for one in outcomes)

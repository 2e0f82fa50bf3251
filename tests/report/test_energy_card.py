"""The report's card of energy says where most of it went."""

from __future__ import annotations

import metronome
from metronome.orchestrator.report.html.figures import cards
from metronome.orchestrator.report.html.run import Run

from ..power.test_ledger import SCENARIO


def energy(result):
    return next(card for card in cards(Run("a", result, None)) if card.name == "Energy")


def test_the_largest_parts_are_named():
    result = metronome.run(SCENARIO)
    _, parts = energy(result).notes
    own = result["metronome"]
    share = own["energy_by_part_j"]["n0"]["base"] / own["energy_j"]
    assert f"base {share:.0%}" in parts and len(parts.split(", ")) == 4


def test_a_run_that_does_not_say_has_no_parts():
    result = metronome.run(SCENARIO)
    del result.metrics["metronome"]["energy_by_part_j"]
    assert len(energy(result).notes) == 1

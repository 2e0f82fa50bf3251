"""Whose joules: what components spend on a step is shared by tokens, and nothing is left over."""

from __future__ import annotations

import io
from collections import Counter

import metronome
import pytest
from metronome.orchestrator.debug.console import Console
from metronome.orchestrator.debug.counterfactual_looks import split_as_json
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.why import why, why_all
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.source import LiveSource
from metronome.orchestrator.units import PJ_PER_J

from ..conftest import ROOT

SMALL = {"workload.num_requests": 12}


def session(name):
    return DebugSession.live(metronome.load(name, SMALL), Inputs(ROOT / "scenarios"), LiveSource())


@pytest.mark.parametrize(
    "name", ["quickstart", "pim-attention", "expert-parallel", "tensor-pipeline-parallel", "shared-uplink"]
)
def test_requests_have_all_that_steps_spend(name):
    with session(name) as debugged:
        debugged.run()
        answers = why_all(debugged)
        shared: Counter[str] = Counter()
        for answer in answers:
            shared.update(answer.energy_j)
        spent: Counter[str] = Counter()
        for (component, _), entries in debugged.simulation.ports.spent.of.items():
            spent[component] += sum(entries.energy_pj) / PJ_PER_J
        devices = {
            component for component in spent if component.endswith((".accelerators", ".pim")) and spent[component]
        }
        assert devices and devices <= shared.keys()
        assert {name: shared[name] for name in devices} == pytest.approx(
            {name: spent[name] for name in devices}, rel=1e-9
        )


def test_one_request_has_the_same_asked_alone():
    with session("quickstart") as debugged:
        debugged.run()
        all_of_them = {answer.request: answer.energy_j for answer in why_all(debugged)}
        assert why(debugged, 5).energy_j == pytest.approx(all_of_them[5])


def test_it_is_told():
    with session("quickstart") as debugged:
        debugged.run()
        said = io.StringIO()
        console = Console(debugged, stdout=said)
        for line in ("why 5", "why --all"):
            console.onecmd(line)
        joules = split_as_json(why(debugged, 5))["energy_j"]
    assert f"energy of its steps, by its share of their tokens: {sum(joules.values()):.3f} J (" in said.getvalue()
    assert f"{'J':>12}  most of it" in said.getvalue() and f"{sum(joules.values()):>12.3f}" in said.getvalue()

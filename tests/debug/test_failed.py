"""Requests that are refused, or given up by their clients, can be asked about, too."""

from __future__ import annotations

from pathlib import Path

import metronome
import pytest
from metronome.orchestrator.debug import why_looks
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.debug.why import why_all
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import of_mapping
from metronome.orchestrator.simulation import LiveSource

from ..small import SMALL

LONG, IMPATIENT = 1, 2


@pytest.fixture
def content(tmp_path):
    rows = "arrival,input,output,patience\n0,100,400,\n0.001,900000,10,\n0.002,2000,500,0.1\n0.003,100,10,\n"
    (tmp_path / "r.csv").write_text(rows)
    columns = {"arrival": "arrival", "input_tokens": "input", "output_tokens": "output", "abort_after": "patience"}
    return {**SMALL, "workload": {"format": "csv", "path": str(tmp_path / "r.csv"), "columns": columns}}


@pytest.fixture
def session(content):
    with DebugSession.live(of_mapping(content), Inputs(Path()), LiveSource(None)) as opened:
        opened.run()
        yield opened


def test_of_one_that_was_refused_it_says_why(content, session):
    found = metronome.why(content, LONG)
    assert (found.total_ps, found.done, found.first_ps) == (0, False, None) and "max_model_len" in found.failed
    assert "until it failed, max_model_len: " in why_looks.because(session, LONG)[0]


def test_of_one_that_was_given_up_the_time_until_then_adds_up(content, session):
    found = metronome.why(content, IMPATIENT)
    assert found.total_ps == sum((found.before + found.after).values()) == 100_000_000_000
    assert found.failed.startswith("cancelled: its client gave it up after 0.1 s") and found.steps
    assert session.value(f"requests/{IMPATIENT}")["state"] == "failed"


def test_the_whole_run_has_them_and_others_are_asked_about_without_them(content, session):
    assert [(one.request, bool(one.failed)) for one in why_all(session)] == [
        (0, False),
        (LONG, True),
        (IMPATIENT, True),
        (3, False),
    ]
    assert "(cancelled: its client" in why_looks.table(session)[1 + IMPATIENT]
    for without in (LONG, IMPATIENT):
        found = metronome.counterfactual(content, 0, without=[without])
        assert found.as_blamed or found.otherwise()
    with pytest.raises(InputError, match=r"was not served \(cancelled"):
        metronome.counterfactual(content, IMPATIENT, without=[0])

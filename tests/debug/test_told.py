"""Every component can be looked into: what it was told, can do and has said, now, in the past and in a recording."""

from __future__ import annotations

import metronome
import pytest
from metronome.orchestrator.debug import state
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.record.recording import Recording
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import bundled, load
from metronome.orchestrator.source import LiveSource

from .transcripts import FOLDER


def opened(name, overrides=()):
    scenario, folder = load(name, overrides)
    return DebugSession.live(scenario, Inputs(folder), LiveSource(None))


@pytest.mark.parametrize("name", bundled())
def test_every_component_of_every_scenario(name):
    with opened(name, {"workload.limit": 4}) as session:
        session.seek(40)
        for spec in session.simulation.specs:
            about = f"components/{spec.name}"
            assert session.value(f"{about}/config") == dict(spec.config)
            described = session.value(f"{about}/description")
            for number in state.names(session.value(f"{about}/templates")):
                assert session.value(f"{about}/templates/{number}/kind") in described["op_kinds"]
            answers = state.flat(session.value(f"{about}/answers")).values()
            own = {link.session for link in session.simulation.ports.links(spec.name)}  # not those asked aside
            asked = [m for m in session.tape.log if m.session in own and m.verb == "advance"]
            assert bool(answers) == any(m.asked[1] for m in asked)
            assert all((answer["took_ps"] or 0) >= 0 and "'" in answer["operation"] for answer in answers)
            if "inspect" not in described["features"] and described["time_policy"] == "oracle":
                assert session.value(f"{about}/state").startswith("none: each answer is a function")


def test_what_was_said_is_that_of_the_moment():
    with opened(str(FOLDER / "pd.yaml")) as session:
        told = []
        for place in (60, 200):
            session.seek(place)
            told.append([*state.flat(session.value("components/n0.accelerators/answers")).values()])
            assert all(answer["event"] < place for answer in told[-1])
        session.seek(60)
        assert [*state.flat(session.value("components/n0.accelerators/answers")).values()] == told[0] != told[1]
        latest = session.value("components/n0.accelerators/answers/-1")
        assert latest == told[0][-1] and latest["provenance"] == "modelled"
        with pytest.raises(InputError, match="from 0; -1 is the latest"):
            session.value("components/n0.accelerators/answers/99")


def test_a_recording_tells_what_its_components_said(tmp_path):
    metronome.run(str(FOLDER / "pd.yaml"), tmp_path / "r", record=True)
    with opened(str(FOLDER / "pd.yaml")) as live, DebugSession.recorded(Recording(tmp_path / "r")) as recorded:
        for session in (live, recorded):
            session.seek(200)
        for part in ("answers", "templates", "description"):
            for name in ("n0.accelerators", "nvlink"):
                path = f"components/{name}/{part}"
                assert state.flat(recorded.value(path)) == state.flat(live.value(path))

"""Many sessions with one component process, at once."""

from __future__ import annotations

import pytest
from metronome.adapters.host import service
from metronome.hwmodels.interface import MAX_PS, Operation, Template
from metronome.orchestrator.coupling.components import ComponentSpec
from metronome.orchestrator.coupling.launch.process import open_processes
from metronome.orchestrator.errors import ComponentFailure
from metronome.orchestrator.paces import paces
from metronome.orchestrator.scenario.components import ComponentOptions
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.simulation import Simulation

from ..chaos.undisturbed import run

READ = Template(0, "read", "x", {})


def memory():
    config = {"bandwidth_gb_s": 100, "latency_ns": 90}
    options = ComponentOptions(run="process", on_failure="fail", timeout_s=5)
    return ComponentSpec("n0.dram", "memory", 0, "bandwidth-latency", config, options, 1)


def test_thirty_sessions_answer_one_after_another():
    with open_processes([memory()], None) as links:
        sessions = [links["n0.dram"], *(links["n0.dram"].again() for _ in range(29))]
        for session in sessions:
            session.declare([READ])
        ends = {
            session.advance(MAX_PS, [Operation(0, (1000,))], False).completions[0].finish_ps for session in sessions
        }
        assert ends == {100_000}
        links["n0.dram"].close()


def test_more_than_a_host_takes_are_refused(monkeypatch):
    with open_processes([memory()], None) as links:
        root = links["n0.dram"]
        root.declare([READ])
        for _ in range(service.MOST_SESSIONS - 1):
            root.again().declare([READ])
        with pytest.raises(ComponentFailure, match=f"{service.MOST_SESSIONS} sessions are open"):
            root.again().declare([READ])
        root.close()


def test_a_router_that_looks_ahead_has_one_session_of_each_component(tmp_path, monkeypatch):
    with Simulation(*load("mixed-fleet", ("workload.limit=1",))) as simulation:
        asked = []
        aside = simulation.ports.aside
        monkeypatch.setattr(simulation.ports, "aside", lambda name: asked.append(name) or aside(name))
        paces(simulation.units, simulation.ports)
        assert len(asked) == len(set(asked)) > 3


def test_a_fleet_in_processes_is_the_same():
    scenario, _ = load("mixed-fleet", ("workload.limit=6",))
    data = scenario.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    apart = dict(data["components"])
    for name in (
        "n0.accelerators",
        "n1.accelerators",
        "n2.accelerators",
        "n3.accelerators",
        "n3.pim",
        "n4.accelerators",
    ):
        apart[name] = {**apart.get(name, {}), "run": "process", "timeout_s": 20}
    assert run(data | {"components": apart}).figures == run(data).figures

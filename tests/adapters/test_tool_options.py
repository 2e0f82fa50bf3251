"""What a scenario says of a tool reaches it: its time limit, its path; what cannot be is said before time 0."""

from __future__ import annotations

import sys
import time

import pytest
import yaml
from metronome.orchestrator.coupling.components import specify
from metronome.orchestrator.coupling.link import advancing
from metronome.orchestrator.errors import ComponentFailure, InputError
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource
from metronome.orchestrator.units import MAX_PS

COMMAND = "metronome.adapters.command:Memory"


def sleeper(folder, seconds):
    path = folder / "tool"
    path.write_text(f"#!{sys.executable}\nimport time\ntime.sleep({seconds})\nprint('took 5 ns')\n")
    path.chmod(0o755)
    return {"model": COMMAND, "command": ["./tool"], "value": "took (?P<value>[0-9]+) ns"}


def scenario(small, **options):
    return validate({**small, "components": {"n0.dram": options}}, "test")


def run(small, folder, **options):
    (folder / "s.yaml").write_text(yaml.safe_dump({**small, "components": {"n0.dram": options}}))
    with Simulation(scenario(small, **options), folder, LiveSource(folder / "logs")) as simulation:
        simulation.run()


@pytest.mark.parametrize("where", ["inprocess", "process"])
def test_a_tool_is_given_up_after_the_time_the_scenario_says(small, tmp_path, where):
    started = time.monotonic()
    told = "tool was not done after 1 s"
    if where == "process":  # where the process is waited for as long: on a busy machine either ends first
        told += "|gave no answer for 1 s"
    with pytest.raises(ComponentFailure, match=told):
        run(small, tmp_path, **sleeper(tmp_path, 60), timeout_s=1, run=where)
    assert time.monotonic() - started < 20


def test_a_stopped_tool_is_noticed_within_its_time(small, tmp_path):
    """It is there, and does nothing: only its own limit tells."""
    options = sleeper(tmp_path, 0)
    (tmp_path / "tool").write_text(f"#!{sys.executable}\nimport os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n")
    started = time.monotonic()
    with pytest.raises(ComponentFailure, match="was not done after 1 s"):
        run(small, tmp_path, **options, timeout_s=1, run="process")
    assert time.monotonic() - started < 20


def test_the_limit_is_the_tools_only_where_it_is_given(small, tmp_path):
    def limit(**options):
        found = specify(scenario(small, **options), tmp_path)
        return next(spec.config.get("timeout_s") for spec in found if spec.name == "n0.dram")

    assert limit(**sleeper(tmp_path, 0)) is None  # the model's own default holds
    assert limit(**sleeper(tmp_path, 0), timeout_s=600) == 600
    assert limit(model="bandwidth-latency", timeout_s=600) is None  # it drives no tool


@pytest.mark.parametrize(
    ("model", "more", "field"),
    [
        (COMMAND, {"command": ["./nothing"], "value": "(?P<value>1)"}, "command"),
        (COMMAND, {"command": ["no-such-simulator"], "value": "(?P<value>1)"}, "command"),
        ("ramulator2", {"program": "./nothing", "tck_ps": 625}, "program"),
        ("ramulator2", {"program": "ini", "tck_ps": 625}, "program"),
        ("dramsim3", {"program": "no-such-simulator", "config": "ini"}, "program"),
    ],
)
def test_a_program_that_is_not_there_is_said_before_time_0(small, tmp_path, model, more, field):
    (tmp_path / "ini").write_text("")
    with pytest.raises(InputError, match=f"component n0.dram: {field} = .*(no such program|not be executed|PATH)"):
        run(small, tmp_path, model=model, **more)


def test_paths_of_programs_start_from_the_scenario(small, tmp_path):
    run(small, tmp_path, **sleeper(tmp_path, 0))


def test_no_limit_is_not_called_a_time():
    assert str(MAX_PS) not in advancing(MAX_PS) and "5 ps" in advancing(5)

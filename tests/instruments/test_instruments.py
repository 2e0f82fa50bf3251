"""Instruments of a whole run: several at once, one that raises, and what they may hear of."""

from __future__ import annotations

import json
from inspect import get_annotations, getmembers, isfunction

import pytest
from metronome.orchestrator.coupling.hooks import CouplingHooks
from metronome.orchestrator.instruments import Instrument
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.serving.hooks import ServingHooks
from metronome.orchestrator.simulation import Simulation

SMALL = ("workload.num_requests=6",)


class Heard:
    """Counts what it is told."""

    def __init__(self):
        self.counts = {}

    def __getattr__(self, name):
        if name.startswith("_") or name == "rewinds":
            raise AttributeError(name)

        def told(*what):
            self.counts[name] = self.counts.get(name, 0) + 1

        return told


class Raises:
    def __init__(self, after):
        self.left = after

    def event(self, event):
        self.left -= 1
        if not self.left:
            raise RuntimeError("I have seen enough")

    def operations(self, *what):
        raise OSError("disk full")


def run(name, *instruments, settings=SMALL):
    scenario, folder = load(name, settings)
    with Simulation(scenario, folder, instruments=instruments) as simulation:
        simulation.run()
        return [(s.request.id, s.first_token_ps, s.end_ps) for s in simulation.recorder.done], simulation


def test_the_documented_instrument_has_every_hook_and_no_other():
    hooks = {"event", *get_annotations(ServingHooks), *get_annotations(CouplingHooks)}
    assert {name for name, _ in getmembers(Instrument, isfunction)} == hooks


@pytest.mark.parametrize("name", ["quickstart", "prefill-decode"])
def test_two_at_once_hear_the_same_and_change_nothing(name):
    alone, _ = run(name)
    first, second = Heard(), Heard()
    heard, simulation = run(name, first, second)
    assert heard == alone
    assert first.counts == second.counts
    assert first.counts["request_arrived"] == first.counts["request_ended"] == 6
    assert first.counts["event"] == simulation.kernel.events
    assert first.counts["step_launched"] == first.counts["step_landed"]
    if name == "prefill-decode":
        assert first.counts["transfer_began"] == first.counts["transfer_ended"] == first.counts["prompt_computed"] == 6


@pytest.mark.parametrize("after", [1, 50])
def test_one_that_raises_is_dropped_and_the_run_goes_on(after, capfd):
    alone, _ = run("quickstart")
    other = Heard()
    heard, simulation = run("quickstart", Raises(after), other)
    assert heard == alone
    assert other.counts["event"] == simulation.kernel.events
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and said[0].startswith("metronome: instrument Raises is dropped: ")


def test_trace_and_recording_of_one_run_are_made_together(cli, tmp_path):
    done = cli("run", "quickstart", "--set", *SMALL, "--trace", "--record", "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out/trace.pftrace").stat().st_size and (tmp_path / "out/recording/journal").is_file()
    plain = cli("run", "quickstart", "--set", *SMALL, "-o", tmp_path / "plain", "--quiet")
    assert plain.exit_code == 0
    assert (tmp_path / "out/requests.csv").read_bytes() == (tmp_path / "plain/requests.csv").read_bytes()
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["status"] == "complete"

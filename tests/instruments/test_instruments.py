"""Instruments of a whole run: several at once, one that raises, and what they may hear of."""

from __future__ import annotations

import json
from inspect import get_annotations, getmembers, isfunction

import metronome
import pytest
from metronome.orchestrator.coupling.hooks import CouplingHooks
from metronome.orchestrator.debug.witness import Witness
from metronome.orchestrator.instruments import Instrument
from metronome.orchestrator.instruments.perfetto import Trace, Watcher
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


def without_wall_time(part):
    """What differs from run to run."""
    return {key: value for key, value in part.items() if key not in ("date", "wall_s", "startup_s")}


def look(folder, *kinds):
    """A run of its own with a trace, a `why` of request 3, or both; returns what each has, and how requests ended."""
    scenario, where = load("prefill-decode", SMALL)
    with Simulation(scenario, where) as simulation, Trace(folder / "trace") as trace:
        watcher = Watcher(trace, {replica.name: [replica] for replica in simulation.replicas})
        witness = Witness(simulation.mover.networks, 3)
        for kind, instrument in (("trace", watcher), ("why", witness)):
            if kind in kinds:
                simulation.instruments.add(instrument)
        simulation.run()
        watcher.finish(simulation.kernel.now_ps)
        ended = [(s.request.id, s.first_token_ps, s.end_ps) for s in simulation.recorder.done]
    return (folder / "trace").read_bytes(), (witness.mine(3), witness.moves.get(3)), ended


def test_a_trace_and_why_look_on_at_one_run_as_each_does_alone(tmp_path):
    trace, _, ended = look(tmp_path, "trace")
    _, why, same = look(tmp_path, "why")
    assert len(why[0]) > 3 and why[1] and ended == same
    assert look(tmp_path, "trace", "why") == (trace, why, ended)


def test_one_that_raises_leaves_the_files_of_the_run_as_they_are(tmp_path, capfd):
    for folder, looking in (("alone", []), ("raises", [Raises(40)])):
        metronome.run("prefill-decode", tmp_path / folder, instruments=looking, overrides=dict([SMALL[0].split("=")]))
    for name in ("requests.csv", "timeseries.csv", "scenario.yaml"):
        assert (tmp_path / "raises" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    texts = [(tmp_path / folder / "result.json").read_text() for folder in ("alone", "raises")]
    alone, raises = (json.loads(text, object_hook=without_wall_time) for text in texts)
    assert raises == alone and alone["completed"] == 6
    assert "instrument Raises is dropped" in capfd.readouterr().err


def test_trace_and_recording_of_one_run_are_made_together(cli, tmp_path):
    done = cli("run", "quickstart", "--set", *SMALL, "--trace", "--record", "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out/trace.pftrace").stat().st_size and (tmp_path / "out/recording/journal").is_file()
    plain = cli("run", "quickstart", "--set", *SMALL, "-o", tmp_path / "plain", "--quiet")
    assert plain.exit_code == 0
    assert (tmp_path / "out/requests.csv").read_bytes() == (tmp_path / "plain/requests.csv").read_bytes()
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["status"] == "complete"

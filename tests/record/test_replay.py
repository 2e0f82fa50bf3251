"""Recordings replay to the same bytes without components, and say where they part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from metronome.orchestrator.coupling.costs import Tally
from metronome.orchestrator.errors import DivergenceError
from metronome.orchestrator.record.recording import Recording
from metronome.orchestrator.record.replay import ReplayTape, replay
from metronome.orchestrator.simulation import Simulation

from ..conftest import ROOT
from ..coupling.test_placement import files

SCENARIOS = ("quickstart", "prefill-decode", "prefill-decode-two-nodes", "tensor-pipeline-parallel", "expert-parallel")


def written(small, folder):
    """The small scenario as a file."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


@pytest.mark.parametrize("name", SCENARIOS)
def test_recorded_and_replayed_runs_equal_the_plain_one(name, cli, tmp_path):
    for arguments in (
        ("run", name, "-o", tmp_path / "plain"),
        ("run", name, "-o", tmp_path / "rec", "--record"),
        ("replay", tmp_path / "rec", "-o", tmp_path / "again"),
    ):
        assert (
            cli(
                *arguments,
                "--quiet",
            ).exit_code
            == 0
        )
    assert files(tmp_path / "plain") == files(tmp_path / "rec") == files(tmp_path / "again")


@pytest.mark.parametrize("run", ["inprocess", "process"])
def test_wherever_the_components_ran(run, small, cli, tmp_path):
    small["components"] = {name: {"run": run} for name in ("n0.accelerators", "n0.dram", "nvlink0")}
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    assert cli("replay", tmp_path / "rec", "-o", tmp_path / "again", "--quiet").exit_code == 0
    assert files(tmp_path / "rec") == files(tmp_path / "again")


def test_a_recording_needs_neither_scenario_nor_workload(small, cli, tmp_path):
    (tmp_path / "w.jsonl").write_text('{"input_toks": 50, "output_toks": 5, "arrival_time_ns": 10}\n' * 3)
    small["workload"] = {"format": "llmservingsim", "path": "w.jsonl"}
    scenario = written(small, tmp_path)
    assert cli("run", scenario, "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    (tmp_path / "w.jsonl").unlink()
    scenario.unlink()
    moved = (tmp_path / "rec" / "recording").rename(tmp_path / "elsewhere")
    assert cli("replay", moved, "-o", tmp_path / "again", "--quiet").exit_code == 0
    assert files(tmp_path / "rec") == files(tmp_path / "again")


def test_inputs_of_a_recording_stay_within_it(small, cli, tmp_path, monkeypatch):
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    from metronome.orchestrator.record.journal import Journal

    read = Journal.__init__

    def forged(self, path):
        read(self, path)
        self.header["inputs"] = {"w.jsonl": "../../../etc/passwd"}

    monkeypatch.setattr(Journal, "__init__", forged)
    done = cli("replay", tmp_path / "rec", "--quiet")
    assert done.exit_code == 2 and "lies outside the recording" in done.output


def test_a_change_of_code_is_reported_as_the_first_event_that_differs(small, cli, tmp_path, monkeypatch):
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    from metronome.orchestrator.serving.router import LeastLoaded

    choose = LeastLoaded.choose
    monkeypatch.setattr(
        LeastLoaded,
        "choose",
        lambda self, request, engines: engines[1] if request.id == 0 else choose(self, request, engines),
    )
    recording = Recording(tmp_path / "rec")
    tape = ReplayTape(recording.journal)
    source = recording.source(tape)
    with (
        Simulation(recording.scenario, recording.inputs, source) as simulation,
        pytest.raises(DivergenceError) as caught,
    ):
        replay(simulation, recording.journal, tape)
    recorded = recording.journal.row(caught.value.event)
    cause = recording.journal.row(recorded.cause)
    assert (cause.kind, cause.about) == ("arrival", 0)  # the very decision that was changed
    done = cli("replay", tmp_path / "rec", "--quiet")
    assert done.exit_code == 1 and f"at event {caught.value.event}" in done.output and "recorded" in done.output


def test_other_messages_to_a_component_are_a_difference(small, cli, tmp_path, monkeypatch):
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    from metronome.orchestrator.serving.batch import Batch

    monkeypatch.setattr(Batch, "tokens", property(lambda b: b.decodes + sum(b.prompts[::2]) + b.padding + 1))
    done = cli("replay", tmp_path / "rec", "--quiet")
    assert done.exit_code == 1 and "was sent another message" in done.output


def test_a_failed_run_fails_again_in_the_same_place(small, cli, tmp_path):
    small["components"] = {
        "n0.accelerators": {"model": "tests.coupling.fakes:Dies", "run": "process", "on_failure": "fail"}
    }
    first = cli("run", written(small, tmp_path), "-o", tmp_path / "rec", "--record", "--quiet")
    assert first.exit_code == 3
    again = cli("replay", tmp_path / "rec", "-o", tmp_path / "again")
    assert again.exit_code == 0 and "did not complete (failed)" in again.output and "SIGKILL" in again.output
    assert files(tmp_path / "rec") == files(tmp_path / "again")


def test_a_recording_outlives_the_death_of_the_orchestrator(small, cli, tmp_path):
    small["workload"]["num_requests"] = 100_000
    command = [
        sys.executable,
        "-m",
        "metronome",
        "run",
        str(written(small, tmp_path)),
        "-o",
        str(tmp_path / "rec"),
        "--record",
        "--quiet",
    ]
    process = subprocess.Popen(command, cwd=ROOT)
    journal = tmp_path / "rec" / "recording" / "journal"
    try:
        deadline = time.monotonic() + 60
        while not (journal.exists() and journal.stat().st_size > 200_000) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    found = Recording(tmp_path / "rec").journal
    assert found.truncated and found.events > 1000
    done = cli("replay", tmp_path / "rec", "-o", tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert f"{found.events} events replayed" in done.output or f"{found.events + 1} events replayed" in done.output
    assert "did not complete (interrupted)" in done.output


def test_a_run_interrupted_in_the_middle_of_its_counts_replays(small, cli, tmp_path, monkeypatch):
    """In the replay the event is acted out to its end, so more is counted than the recorded run had."""
    adds, left = Tally.add, iter(range(2_000))

    def interrupted(self, *used):
        if next(left, None) is None:
            raise KeyboardInterrupt
        adds(self, *used)

    with monkeypatch.context() as patch:
        patch.setattr(Tally, "add", interrupted)
        done = cli("run", written(small, tmp_path), "-o", tmp_path / "rec", "--record", "--quiet")
    assert done.exit_code == 130, done.output
    done = cli("replay", tmp_path / "rec", "-o", tmp_path / "again")
    assert done.exit_code == 0 and "did not complete (interrupted)" in done.output, done.output


def test_diff_names_the_first_parting_its_causes_and_the_answers(small, cli, tmp_path):
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "a", "--record", "--quiet").exit_code == 0
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "same", "--record", "--quiet").exit_code == 0
    small["cluster"]["networks"][0]["bandwidth_gb_s"] = 200
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "b", "--record", "--quiet").exit_code == 0
    equal = cli("diff", tmp_path / "a", tmp_path / "same")
    assert equal.exit_code == 0 and "no event differs" in equal.output
    parted = cli("diff", tmp_path / "a", tmp_path / "b")
    assert parted.exit_code == 1
    assert "is the first that differs" in parted.output and "time_ps: " in parted.output
    assert "nvlink0#0 answered otherwise" in parted.output
    assert "what led to it, in both:" in parted.output and "arrival 0" in parted.output


def test_diff_of_a_recording_that_ends_early(small, cli, tmp_path):
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "a", "--record", "--quiet").exit_code == 0
    small["workload"]["num_requests"] = 39
    assert cli("run", written(small, tmp_path), "-o", tmp_path / "b", "--record", "--quiet").exit_code == 0
    assert cli("diff", tmp_path / "a", tmp_path / "b").exit_code == 1


def test_no_recording_is_one_clear_message(cli, tmp_path):
    for command in (("replay", tmp_path), ("diff", tmp_path, tmp_path)):
        done = cli(*command)
        assert done.exit_code == 2 and "has no journal: the run was not recorded (--record)" in done.output


def test_recording_is_small(cli, tmp_path):
    """Well below 200 bytes an event."""
    assert cli("run", "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    events = Recording(tmp_path / "rec").journal.events
    assert (tmp_path / "rec" / "recording" / "journal").stat().st_size / events < 60

"""A recorded run that was cut short goes on to the result it would have had."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from metronome.orchestrator.record.journal import Journal, JournalWriter
from metronome.orchestrator.report.requests import COLUMNS, Spool
from metronome.orchestrator.report.result import Result

from ..chaos.undisturbed import figures
from ..conftest import ROOT

PROCESSES = {name: {"run": "process"} for name in ("n0.accelerators", "n0.dram", "nvlink0")}
SURROGATE = {"n0.accelerators": {"model": "roofline", "device": "h100-sxm", "surrogate": {"tolerance": 0.05}}}


CUTS = {"inprocess": ({}, 0.5), "processes": (PROCESSES, 0.97), "surrogate": (SURROGATE, 0.5), "all": ({}, 0.2)}


@pytest.fixture(params=CUTS.values(), ids=CUTS)
def cut(request):
    return request.param


@pytest.fixture
def scenario(cut, small, tmp_path):
    small["components"] = cut[0]
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(small))
    return path


def finished(folder):
    result = Result.read(folder)
    assert result.status == "complete"
    return figures(result)[0]


@pytest.fixture
def whole(scenario, tmp_path, cli):
    """The same run, undisturbed, recorded in small blocks."""
    assert cli("run", scenario, "-o", tmp_path / "whole", "--quiet", "--record").exit_code == 0
    return finished(tmp_path / "whole")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("metronome.orchestrator.record.journal.BLOCK_EVENTS", 64)


def test_a_recording_cut_anywhere_is_gone_on_with(cut, whole, tmp_path, cli):
    """The file as a kill leaves it: without an end, the last block torn."""
    shutil.copytree(tmp_path / "whole" / "recording", tmp_path / "cut" / "recording")
    journal = tmp_path / "cut/recording/journal"
    with journal.open("r+b") as file:
        file.truncate(int(journal.stat().st_size * cut[1]))
    done = cli("run", "--resume", tmp_path / "cut", "--quiet")
    assert done.exit_code == 0, done.output
    assert finished(tmp_path / "cut") == whole
    replayed = cli("replay", tmp_path / "cut", "-o", tmp_path / "again", "--quiet")
    assert replayed.exit_code == 0 and finished(tmp_path / "again") == whole
    same = cli("diff", tmp_path / "cut", tmp_path / "whole")
    assert same.exit_code == 0, same.output


def test_what_has_no_effect_is_said_by_the_first_run_alone(small, tmp_path, cli):
    """A recording has every default written out: no more of them is stated than was."""
    small["cluster"]["nodes"][0]["memory"]["dram"]["size_gib"] = 512
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    first = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--record")
    assert first.output.count("dram.size_gib has no effect") == 1
    journal = tmp_path / "out/recording/journal"
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size // 2)
    done = cli("run", "--resume", tmp_path / "out")
    assert done.exit_code == 0 and "no effect" not in done.output, done.output


def test_killed_twice_and_gone_on_with_elsewhere(small, tmp_path, cli):
    small["workload"]["num_requests"] = 300
    small["components"] = PROCESSES
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    kill(["run", str(tmp_path / "s.yaml"), "-o", str(tmp_path / "out"), "--record"], tmp_path / "out", 30_000)
    part = (tmp_path / "out" / Spool.NAME).read_text().splitlines()
    kill(["run", "--resume", str(tmp_path / "out")], tmp_path / "out", 60_000)
    done = cli("run", "--resume", tmp_path / "out", "-o", tmp_path / "else", "--quiet")
    assert done.exit_code == 0, done.output
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "whole", "--quiet").exit_code == 0
    assert finished(tmp_path / "else") == finished(tmp_path / "whole")
    requests = (tmp_path / "else/requests.csv").read_text().splitlines()
    assert part[0] == ",".join(COLUMNS) and len(part) > 5 and set(part[:-1]) <= set(requests)
    assert not (tmp_path / "else" / Spool.NAME).exists()


def test_killed_before_its_first_block(small, tmp_path, cli):
    """What there is of its recording is the header."""
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    command = [sys.executable, "-m", "tests.chaos.victim", "3", "0", str(int(signal.SIGKILL)), "1024"]
    done = subprocess.run(
        [*command, "run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--record"], cwd=ROOT, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    done = cli("run", "--resume", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "whole", "--quiet").exit_code == 0
    assert finished(tmp_path / "out") == finished(tmp_path / "whole")


def kill(arguments, out, size):
    """Start it, and kill it when its recording has that many bytes."""
    process = subprocess.Popen([sys.executable, "-m", "metronome", *arguments, "--quiet"], cwd=ROOT)
    journal, end = out / "recording" / "journal", time.monotonic() + 90
    while not (journal.is_file() and journal.stat().st_size > size):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_goes_on(small, tmp_path, cli, number, monkeypatch):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "whole", "--quiet").exit_code == 0
    seen = JournalWriter.see

    def interrupted(self, event):
        seen(self, event)
        if self.event == 500:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "see", interrupted)
        if number == signal.SIGINT:
            patch.setattr(JournalWriter, "see", lambda self, event: stop(seen, self, event))
        done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--record")
    assert done.exit_code in (130, 143), done.output
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["status"] == "interrupted"
    done = cli("run", "--resume", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    assert finished(tmp_path / "out") == finished(tmp_path / "whole")


@pytest.mark.parametrize("written", [False, True])
def test_a_run_interrupted_while_a_block_is_written_goes_on(small, tmp_path, cli, monkeypatch, written):
    """As the handler of a signal may do that comes before the block is on disk, or when it just is."""
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "whole", "--quiet").exit_code == 0
    writes, once = JournalWriter._frame, iter([True])

    def interrupted(self, kind, payload, first):
        now = first == 449 and next(once, False)
        if written or not now:
            writes(self, kind, payload, first)
        if now:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(JournalWriter, "_frame", interrupted)
        done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--record")
    assert done.exit_code == 130, done.output
    rows = [row for block in Journal(tmp_path / "out/recording/journal").blocks() for row in block.rows]
    assert len(rows) == 512
    done = cli("replay", tmp_path / "out", "-o", tmp_path / "again", "--quiet")
    assert done.exit_code == 0, done.output
    done = cli("run", "--resume", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    assert finished(tmp_path / "out") == finished(tmp_path / "whole")


def stop(seen, writer, event):
    seen(writer, event)
    if writer.event == 500:
        raise KeyboardInterrupt


def test_a_failed_run_goes_on_where_its_component_works_again(small, tmp_path, cli, monkeypatch):
    """It dies in its first life; the one that is resumed with is another."""
    small["components"] = {"n0.dram": {"model": "chaos/tests.coupling.fakes:Remembers", "run": "process"}}
    small["components"]["n0.dram"] |= {"on_failure": "fail", "chaos": {"crash": [200]}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--record")
    assert done.exit_code == 3, done.output
    small["components"]["n0.dram"]["on_failure"] = "recover"
    (tmp_path / "better.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "better.yaml", "-o", tmp_path / "whole", "--quiet")
    assert done.exit_code == 0, done.output
    done = cli("run", tmp_path / "better.yaml", "--resume", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    assert finished(tmp_path / "out") == finished(tmp_path / "whole")


def test_bad_input(small, tmp_path, cli):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--record").exit_code == 0
    (tmp_path / "nothing").mkdir()

    def refused(words, *arguments):
        done = cli("run", *arguments, "--quiet")
        assert done.exit_code == 2 and words in done.output, done.output

    refused("its run is complete", "--resume", tmp_path / "out")
    refused("has no journal", "--resume", tmp_path / "nothing")
    refused("it is the same run", "--resume", tmp_path / "out", "--seed", 4)
    refused("of another scenario", "quickstart", "--resume", tmp_path / "out")
    shutil.copytree(tmp_path / "out/recording", tmp_path / "alone")
    refused("say where these go", "--resume", tmp_path / "alone")
    refused("is there already", "--resume", tmp_path / "alone", "-o", tmp_path / "out")


def test_components_that_are_others_now(small, tmp_path, cli, monkeypatch):
    small["components"] = {
        "n0.dram": {"model": "tests.coupling.fakes:Remembers", "bandwidth_gb_s": 100, "latency_ns": 90}
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--record").exit_code == 0
    journal = tmp_path / "out/recording/journal"
    with journal.open("r+b") as file:
        file.truncate(journal.stat().st_size // 2)
    from .. import coupling
    from ..coupling import fakes

    assert coupling
    with monkeypatch.context() as patch:
        patch.setattr(fakes.Remembers, "transfer_ps", lambda self, operation: 77)
        done = cli("run", "--resume", tmp_path / "out", "--quiet")
    assert done.exit_code == 1 and "n0.dram#0 answers otherwise than when this was recorded" in done.output
    from dataclasses import replace

    with monkeypatch.context() as patch:
        patch.setattr(fakes.Remembers, "description", replace(fakes.Remembers.description, version="9"))
        done = cli("run", "--resume", tmp_path / "out", "--quiet")
    assert done.exit_code == 2 and "the run cannot go on with another" in done.output
    assert cli("run", "--resume", tmp_path / "out", "--quiet").exit_code == 0

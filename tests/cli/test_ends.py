"""However a run ends, what there is until then is written, and says how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ..conftest import wait_until_under_way

FEW = ("--set", "workload.num_requests=5")
write = Path.write_text


@pytest.fixture
def long(small, tmp_path):
    """A scenario that takes minutes."""
    small["workload"]["num_requests"] = 1_000_000
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(small))
    return tmp_path / "long.yaml"


def start(long, tmp_path, **options):
    command = [sys.executable, "-m", "metronome", "run", long, "-o", tmp_path / "out", "--quiet", "--record"]
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_results_so_far_marked(long, tmp_path, number, code):
    process = start(long, tmp_path, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    wait_until_under_way(tmp_path / "out", process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "interrupted" in said and "Traceback" not in said
    own = json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert own["status"] == "interrupted" and own["error_bars"] is not None
    assert len((tmp_path / "out/requests.csv").read_text().splitlines()) > 1
    replayed = subprocess.run(
        [sys.executable, "-m", "metronome", "replay", str(tmp_path / "out"), "-o", str(tmp_path / "again"), "--quiet"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in replayed.stderr and (tmp_path / "again/requests.csv").is_file(), replayed.stderr


def test_an_earlier_result_never_poses_as_this_runs(long, tmp_path, cli):
    assert cli("run", "--set", "workload.num_requests=2", "-o", tmp_path / "out", "--quiet").exit_code == 0
    process = start(long, tmp_path)
    wait_until_under_way(tmp_path / "out", process)
    process.kill()
    process.communicate(timeout=60)
    assert not (tmp_path / "out/result.json").exists()


def test_a_folder_that_cannot_be_written_to_is_found_before_the_run(tmp_path, cli):
    (tmp_path / "file").write_text("")
    done = cli("run", "--set", "workload.num_requests=2", "-o", tmp_path / "file" / "out", "--quiet")
    assert done.exit_code == 2 and "cannot be written to" in done.output, done.output


@pytest.mark.parametrize("what", [["components"], ["run", "--set", "workload.num_requests=2", "-o", "{out}"]])
def test_whoever_reads_may_close_the_pipe(what, tmp_path):
    """As `| head -1` does: no message, no traceback, and a run's results are written."""
    command = [sys.executable, "-m", "metronome", *(word.format(out=tmp_path / "out") for word in what)]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert what[0] != "run" or json.loads((tmp_path / "out/result.json").read_text())


def test_where_a_table_does_not_fit_there_is_no_result(tmp_path, cli, monkeypatch):
    """A whole result.json beside tables that are cut would pose as one."""
    from metronome.orchestrator.report.result import Table

    write, written = Table.write, []

    def full(self, path):
        write(self, path)
        written.append(path.name)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Table, "write", full)
    done = cli("run", "--set", "workload.num_requests=2", "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 2 and "No space left on device" in done.output
    assert not list((tmp_path / "out").glob("result.json*"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_full_disk_is_one_message(tmp_path, cli, monkeypatch):
    from metronome.orchestrator.report.result import Table

    def full(self, path):
        with open("/dev/full", "w") as file:  # noqa: PTH123
            file.write("x" * 100_000)

    monkeypatch.setattr(Table, "write", full)
    done = cli("run", "--set", "workload.num_requests=2", "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 2 and "results: cannot be written" in done.output, done.output


def test_a_recording_never_replaces_what_is_none(tmp_path, cli):
    (tmp_path / "out/recording").mkdir(parents=True)
    (tmp_path / "out/recording/thesis.tex").write_text("years of work")
    done = cli("run", "--set", "workload.num_requests=2", "-o", tmp_path / "out", "--quiet", "--record")
    assert done.exit_code == 2 and "is no recording" in done.output, done.output
    assert (tmp_path / "out/recording/thesis.tex").read_text() == "years of work"


def metronome(*arguments, **options):
    command = [sys.executable, "-m", "metronome", *map(str, arguments)]
    return subprocess.run(command, capture_output="stdout" not in options, text=True, timeout=120, **options)


def test_a_refused_resume_leaves_everything_as_it_is(tmp_path, cli):
    assert cli("run", "quickstart", *FEW, "-o", tmp_path / "a", "--record", "--quiet").exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    done = cli("run", "--resume", tmp_path / "a")
    assert done.exit_code == 2 and "nothing to go on with" in done.output
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["notes.txt", "mine/x"])
def test_what_somebody_put_beside_a_recording_is_kept(tmp_path, cli, name):
    assert cli("run", "quickstart", *FEW, "-o", tmp_path / "a", "--record", "--quiet").exit_code == 0
    mine = tmp_path / "a/recording" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    done = cli("run", "quickstart", *FEW, "-o", tmp_path / "a", "--record", "--quiet")
    assert done.exit_code == 2 and "no part of a recording" in done.output and mine.read_text() == "mine"


def test_a_journal_of_somebody_elses_is_kept(tmp_path, cli):
    (tmp_path / "a/recording").mkdir(parents=True)
    journal = tmp_path / "a/recording/journal"
    journal.write_text("what I thought today")
    done = cli("run", "quickstart", *FEW, "-o", tmp_path / "a", "--record", "--quiet")
    assert done.exit_code == 2 and "is no recording" in done.output
    assert journal.read_text() == "what I thought today"


def test_what_is_printed_may_find_no_room(tmp_path):
    with Path("/dev/full").open("w") as full:
        out = metronome("run", "quickstart", *FEW, "-o", tmp_path / "a", stdout=full, stderr=subprocess.PIPE)
        assert (out.returncode, "Traceback" in out.stderr) == (2, False), out.stderr
        assert "what is printed: cannot be read or written: No space left on device" in out.stderr
        bad = metronome("run", "nosuch", stdout=subprocess.PIPE, stderr=full)
    assert bad.returncode == 2


@pytest.mark.parametrize("number", [1, 2])
def test_a_closed_stream_is_no_failure(tmp_path, number):
    out = metronome("run", "quickstart", *FEW, "-o", tmp_path / "a", preexec_fn=lambda: os.close(number))
    assert out.returncode == 0 and (tmp_path / "a/result.json").is_file()


def test_a_report_is_whole_or_not_there(tmp_path, cli, monkeypatch):
    def full(self, text, encoding=None):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(
        "pathlib.Path.write_text",
        lambda self, text, **more: (full if self.suffix == ".part" and "html" in self.name else write)(
            self, text, **more
        ),
    )
    done = cli("run", "quickstart", *FEW, "-o", tmp_path / "a", "--quiet")
    assert done.exit_code == 2 and "No space left" in done.output
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        "requests.csv",
        "timeseries.csv",
        "result.json",
        "scenario.yaml",
    }

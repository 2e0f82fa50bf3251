"""The command line of the debugger: how it reads, completes, repeats, ends."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import sys
import time

import pytest
from metronome.orchestrator.cli.debug import open_session
from metronome.orchestrator.debug.console import Console

from ..conftest import ROOT, interruptible
from ..coupling.test_placement import files
from .transcripts import FOLDER

PD = str(FOLDER / "pd.yaml")


@pytest.fixture
def console():
    out = io.StringIO()
    with open_session(PD, (), None, None) as session:
        yield Console(session, stdin=io.StringIO(), stdout=out)


def said(console):
    text = console.stdout.getvalue()
    console.stdout.seek(0)
    console.stdout.truncate()
    return text


def test_an_empty_line_repeats(console):
    console.onecmd("step 2")
    console.onecmd("")
    assert console.session.position == 5
    console.onecmd("rs")
    console.onecmd("")
    assert console.session.position == 3


def test_beginnings_and_aliases(console):
    console.onecmd("adv d")
    assert console.session.position == 7
    for line in ("reverse-s", "rs", "reverse_step"):
        console.onecmd(line)
    assert console.session.position == 4
    assert not console.failed


def test_completion(console):
    assert console.completenames("reverse-") == ["reverse-continue", "reverse-next", "reverse-step"]
    assert console.completedefault("", "print engines/", 6, 14) == ["p", "q", "d"]
    assert console.completedefault("", "print engines/d/kv/f", 6, 20) == ["free"]
    assert console.completedefault("", "print nowhere/x", 6, 15) == []


def test_colors_only_on_a_terminal(console):
    assert "\033" not in console.prompt
    assert "\033" in Console(console.session, color=True).prompt


def test_a_refused_command_leaves_the_session_usable(console):
    console.onecmd("print nothing/there")
    assert console.failed == 1 and said(console).startswith("error: ")
    console.onecmd("continue")
    assert "the run is complete" in said(console)


def script(tmp_path, *lines):
    path = tmp_path / "script"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_batch_ends_with_the_script_and_says_by_its_exit_code_whether_all_went_well(cli, tmp_path):
    good = cli("debug", PD, "-x", script(tmp_path, "break d", "continue", "# done"), "--batch")
    assert good.exit_code == 0 and "breakpoint 1" in good.output
    bad = cli("debug", PD, "-x", script(tmp_path, "brek d", "continue"), "--batch")
    assert bad.exit_code == 2 and "no command begins so" in bad.output and "the run is complete" in bad.output


def test_results_equal_those_of_a_run(cli, tmp_path):
    assert cli("run", PD, "-o", tmp_path / "run", "--quiet").exit_code == 0
    done = cli(
        "debug",
        PD,
        "-o",
        tmp_path / "debug",
        "--batch",
        "-x",
        script(tmp_path, "watch engines/d/kv/free", "c", "c", "rc", "delete 1", "seek 300", "rs 20", "continue"),
    )
    assert done.exit_code == 0 and "results in" in done.output
    assert files(tmp_path / "run") == files(tmp_path / "debug")


def test_results_say_that_a_run_was_edited_or_left(cli, tmp_path):
    import json

    cli(
        "debug",
        PD,
        "-o",
        tmp_path / "a",
        "--batch",
        "-x",
        script(tmp_path, "seek 50", "set engines/d/config/max_num_seqs 1", "c"),
    )
    own = json.loads((tmp_path / "a" / "result.json").read_text())["metronome"]
    assert own["status"] == "edited" and "max_num_seqs = 1 from event 50" in own["error"]
    cli("debug", PD, "-o", tmp_path / "b", "--batch", "-x", script(tmp_path, "seek 50"))
    assert json.loads((tmp_path / "b" / "result.json").read_text())["metronome"]["status"] == "interrupted"


def test_a_recording_is_debugged_like_a_scenario(cli, tmp_path):
    assert cli("run", PD, "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    done = cli("debug", tmp_path / "rec", "--batch", "-x", script(tmp_path, "c", "rs", "why 3"))
    assert done.exit_code == 0 and "recording]" in done.output.replace("[506 457.398046 ms past]", "recording]")
    assert "request 3:" in done.output
    refused = cli("debug", tmp_path / "rec", "--seed", 3)
    assert refused.exit_code == 2 and "a recording cannot be changed" in refused.output


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: b"x" + data[1:], "is no recording"),
        (lambda data: data[:20] + b"\x09\x00" + data[22:], "is of version 9"),
        (lambda data: data[:300] + b"\0" * 50 + data[350:], "is damaged"),
    ],
)
def test_a_damaged_recording_is_one_clear_message(cli, tmp_path, damage, why):
    assert cli("run", PD, "-o", tmp_path / "rec", "--record", "--quiet").exit_code == 0
    journal = tmp_path / "rec" / "recording" / "journal"
    journal.write_bytes(damage(journal.read_bytes()))
    for command in ("debug", "replay"):
        done = cli(command, tmp_path / "rec")
        assert done.exit_code == 2 and why in done.output and done.output.count("\n") == 1


def test_bad_scenarios_are_the_same_message_as_of_run(cli, tmp_path):
    done = cli("debug", tmp_path / "nothing.yaml")
    assert done.exit_code == 2


def test_ctrl_c_pauses_between_two_events(tmp_path):
    """On a terminal, with a run that would take minutes."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "metronome", "debug", PD, "--set", "workload.num_requests=1000000"]
    process = interruptible(command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    seen = b""

    def until(text, limit=60):
        nonlocal seen
        deadline = time.monotonic() + limit
        while text not in seen and time.monotonic() < deadline:
            if select.select([master], [], [], 1)[0]:
                seen += os.read(master, 4096)
        assert text in seen, seen
        seen = seen[seen.index(text) + len(text) :]

    try:
        until(b"live] ")
        os.write(master, b"continue\n")
        until(b"continue")
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        until(b"interrupted")
        until(b"live] ")
        os.write(master, b"print engines/d/kv/si\t\n")
        until(b"199")  # of 200 one is the null block
        os.write(master, b"reverse-s\t\n")
        until(b"past] ")
        os.write(master, b"quit\n")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)

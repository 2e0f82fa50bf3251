"""A run that is going on in another process, seen from its folder until it ends, or is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from metronome.orchestrator.report import underway
from metronome.orchestrator.report.requests import COLUMNS, Spool
from metronome.orchestrator.view.watch import Watch

from ..conftest import interruptible
from .served import Served
from .test_browser import Page

REQUESTS = 50_000  # it would take minutes: nobody waits for its end


@contextmanager
def running(folder, *options):
    """A run that has finished some requests, and does not go on while it is looked at."""
    command = [sys.executable, "-m", "metronome", "run", "quickstart", "-o", str(folder), *options]
    count = f"workload.num_requests={REQUESTS}"
    process = interruptible([*command, "--set", count, "--quiet"], stderr=subprocess.DEVNULL)
    spool, deadline = folder / Spool.NAME, time.monotonic() + 60
    try:
        while not spool.is_file() or spool.stat().st_size < 20_000:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_run_that_is_going_on_becomes_the_view_when_it_has_ended(tmp_path, browser):
    with running(tmp_path) as process, Served(tmp_path) as served, Page(browser, served) as page:
        assert page.text("#title") == "quickstart" and "of 50,000 requests finished" in page.text("#far")
        assert page.text("#eta").startswith("ready in") and float(page.do("document.querySelector('#bar').value")) > 0
        heads = ["TTFT (ms)", "TPOT (ms)", "end to end (ms)"]
        assert [page.text(f"#latencies tbody tr:nth-child({row}) th") for row in (1, 2, 3)] == heads
        assert page.do("[...document.querySelectorAll('.watch-bar')].some((bar) => bar.getAttribute('height') > 50)")
        assert page.axe() == []
        status, _, _ = served.request("GET", "/api/here?s=1")
        assert status == 409
        far = page.text("#far")
        process.send_signal(signal.SIGCONT)
        page.page.wait_for_function("(far) => document.querySelector('#far').innerText !== far", arg=far)
        process.send_signal(signal.SIGINT)
        page.page.wait_for_selector("#line")
        page.page.wait_for_selector("body[data-ready]")
        assert page.event() == 0 or "event" in page.text("#where")
        assert not (tmp_path / underway.NAME).exists()


def test_a_recording_that_was_being_written_is_played_when_its_run_has_ended(tmp_path):
    with running(tmp_path, "--record") as process, Served(tmp_path) as served:
        now = served.get("watch")
        assert (now["over"], now["alive"], now["total"]) == (False, True, REQUESTS) and now["done"] > 100
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not served.get("watch")["over"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert int(served.at_rest()["position"]) > 100


def test_a_run_that_was_killed_is_said_to_be(tmp_path):
    with running(tmp_path) as process, Served(tmp_path) as served:
        done = served.get("watch")["done"]
        process.kill()
        process.wait()
        now = served.get("watch")
        assert (now["over"], now["alive"], now["done"]) == (False, False, done)


def test_figures_are_those_of_the_rows_so_far(tmp_path):
    rows = [
        dict.fromkeys(COLUMNS, 0) | {"instance": "a", "output": 10, "end": s * 10**9, "ttft": s * 10**6} for s in (1, 3)
    ]
    spool = tmp_path / Spool.NAME
    (tmp_path / underway.NAME).write_text(json.dumps({"scenario": "s", "requests": None}))

    def write(rows, end="\n"):
        spool.write_text(
            ",".join(COLUMNS) + "\n" + "\n".join(",".join(str(row[c]) for c in COLUMNS) for row in rows) + end
        )

    write(rows, "\n1,a,")  # the last line is being written
    watch = Watch(tmp_path)
    now = watch.look()
    assert (now["done"], now["eta_s"], now["simulated_s"], now["instances"]) == (2, None, 3.0, [("a", 2)])
    assert now["latencies"][0] == {"name": "ttft", "figures": pytest.approx([2, 2, 2.8, 2.98])}
    assert now["throughput"] == {"requests": pytest.approx(2 / 3), "tokens": pytest.approx(20 / 3)}
    assert sum(now["chart"]["tokens_per_s"]) * now["chart"]["bin_s"] == pytest.approx(20)
    write([*rows, rows[0]])
    assert watch.look()["done"] == 3
    write(rows[:1])  # another run's
    assert watch.look()["done"] == 1


def test_what_is_going_on_cannot_be_changed(tmp_path, cli):
    with running(tmp_path):
        done = cli("view", tmp_path, "--set", "seed=3")
    assert done.exit_code == 2 and "a run that is going on cannot be changed" in done.output

"""A signal that comes while results are written is not lost, nor are they."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import yaml
from metronome.orchestrator.cli.signals import Terminated, install
from metronome.orchestrator.report.patience import SIGNALS, Patience
from metronome.orchestrator.report.result import Result


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)
    install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_first_signal_waits_and_a_second_does_not():
    patience, done = Patience(), []
    with pytest.raises(Terminated), patience.watching():
        patience.held = True
        signal.raise_signal(signal.SIGTERM)
        done.append("written")
    assert done and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    patience = Patience()
    with pytest.raises(KeyboardInterrupt), patience.watching():
        patience.held = True
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one waited, too")


def test_before_the_end_it_acts_at_once():
    patience = Patience()
    with pytest.raises(Terminated), patience.watching():
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it waited")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # as ever


def test_another_thread_is_no_concern_of_it():
    found = []
    thread = threading.Thread(target=lambda: found.append(Patience().watching().__enter__()))
    thread.start()
    thread.join()
    assert found == [None] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_results_of_a_run_that_is_over_are_written(number, code, small, tmp_path, cli, monkeypatch):
    write = Result.write

    def interrupted(self, folder):
        os.kill(os.getpid(), number)
        write(self, folder)

    small["workload"]["num_requests"] = 3
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setattr(Result, "write", interrupted)
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--record")
    assert done.exit_code == code, done.output
    assert Result.read(tmp_path / "out").status == "complete"
    monkeypatch.setattr(Result, "write", write)
    assert cli("replay", tmp_path / "out", "-o", tmp_path / "again", "--quiet").exit_code == 0
    assert Result.read(tmp_path / "again").requests.rows == Result.read(tmp_path / "out").requests.rows

"""Signals wait until the main thread is out of gRPC's code, or of a message, and none is lost."""

import os
import random
import signal
import threading
from contextlib import contextmanager

import pytest
from metronome.component.v1.conversation import Stream
from metronome.orchestrator.coupling.interrupts import DOOR
from metronome.orchestrator.coupling.remote import RemoteLink
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource


@pytest.fixture(autouse=True)
def sigint():
    """Python's own handler, even where whoever started the tests ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_inside_is_handled_on_the_way_out():
    inside = False
    with DOOR.guarded():
        with pytest.raises(KeyboardInterrupt), DOOR:
            with DOOR:
                signal.raise_signal(signal.SIGINT)
            assert DOOR.knocked
            inside = True
        assert inside and not DOOR.knocked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_is_no_concern_of_the_door():
    with DOOR.guarded(), DOOR:
        signal.raise_signal(signal.SIGINT)
        thread = threading.Thread(target=lambda: DOOR.__enter__() or DOOR.__exit__())
        thread.start()
        thread.join()
        assert DOOR.knocked
        DOOR._kept = None


@pytest.fixture
def in_processes(small):
    small["workload"] |= {"num_requests": 1_000_000}
    small["components"] = {name: {"run": "process"} for name in ("n0.accelerators", "nvlink0")}
    return validate(small, "test")


class Interrupted:
    """A conversation; a signal comes while the first answer is waited for."""

    def __init__(self, talk):
        self.talk, self.whole = talk, False
        self.send, self.cancel, self.close = talk.send, talk.cancel, talk.close

    def receive(self):
        if not self.whole:
            signal.raise_signal(signal.SIGINT)
            self.whole = True
        return self.talk.receive()


class Watched(LiveSource):
    """Keeps the link to the accelerator."""

    @contextmanager
    def open(self, specs):
        with super().open(specs) as links:
            self.link = links["n0.accelerators"]
            yield links


@pytest.mark.parametrize("framed", [True, False])
def test_the_wait_for_an_answer_is_not_broken_into(in_processes, tmp_path, framed, monkeypatch):
    if not framed:
        monkeypatch.setattr(RemoteLink, "_conversation", lambda link: Stream(link._stub))
    source = Watched(tmp_path / "logs")
    with Simulation(in_processes, tmp_path, source) as simulation:
        live = source.link._live
        live._talk = answers = Interrupted(live._talk)
        with pytest.raises(KeyboardInterrupt):
            simulation.run()
        assert answers.whole


def test_no_interrupt_of_a_run_is_lost(in_processes, tmp_path, monkeypatch):
    """Raised inside gRPC it used to be swallowed, or to leave a lock that the end of the run waited for."""
    raised = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    stream = random.Random(1)
    for _ in range(5):
        with (
            pytest.raises(KeyboardInterrupt),
            Simulation(in_processes, tmp_path, LiveSource(tmp_path / "logs")) as simulation,
        ):
            after = 0.05 + 0.3 * stream.random()
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)).start()
            simulation.run()
    assert not raised

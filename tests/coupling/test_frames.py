"""Messages beside a server's Unix socket: the same as over gRPC, whatever comes in their way."""

import contextlib
import os
import signal
import socket
import struct
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.adapters.host import frames as host
from metronome.adapters.host.service import ComponentService
from metronome.component.v1 import codec
from metronome.component.v1 import component_pb2 as pb
from metronome.component.v1.conversation import Framed, Stream
from metronome.component.v1.frames import Frames, beside
from metronome.hwmodels.interface import MAX_PS, Operation, Template
from metronome.hwmodels.network.fabric.model import Fabric
from metronome.orchestrator.coupling.components import ComponentOptions, ComponentSpec
from metronome.orchestrator.coupling.launch.process import open_processes
from metronome.orchestrator.coupling.remote import RemoteLink
from metronome.orchestrator.errors import ComponentFailure

CONFIG = {"type": "nvlink4", "groups": [{"name": "n0", "count": 2}]}
SEND = Template(0, "send", "x", {"participants": 2, "ranks": "n0.0,n0.1"})


@contextlib.contextmanager
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@given(st.lists(st.integers(0, 2**62), max_size=8), st.integers(1, 9))
@settings(deadline=None, max_examples=50)
def test_messages_come_whole_however_they_are_cut(seqs, cut):
    with pair() as (ours, theirs):
        sent = [pb.SimulateRequest(seq=seq, session_id="s" * (seq % 400)) for seq in seqs]
        data = b"".join(struct.pack("<I", len(m.SerializeToString())) + m.SerializeToString() for m in sent)

        def write():
            for start in range(0, len(data), cut * 17):
                ours.sendall(data[start : start + cut * 17])
            ours.shutdown(socket.SHUT_WR)

        threading.Thread(target=write, daemon=True).start()
        frames = Frames(theirs)
        found = list(iter(lambda: frames.receive(pb.SimulateRequest), None))
        assert found == sent


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<I", codec.MAX_MESSAGE_BYTES + 1), "at most"),
        (struct.pack("<I", 2) + b"\xff\xff", "2 bytes that are no"),
    ],
)
def test_what_is_no_message_is_refused(data, message):
    with pair() as (ours, theirs):
        ours.sendall(data)
        with pytest.raises(codec.MalformedMessage, match=message):
            Frames(theirs).receive(pb.SimulateRequest)


def test_a_message_that_is_cut_off_is_the_end():
    with pair() as (ours, theirs):
        ours.sendall(struct.pack("<I", 9) + b"abc")
        ours.close()
        assert Frames(theirs).receive(pb.SimulateRequest) is None


@pytest.fixture
def listening(tmp_path):
    service = ComponentService(Fabric)
    address = f"unix:{tmp_path}/c"
    host.listen(service, address)
    assert service.frames
    return address


@pytest.mark.parametrize("data", [b"", struct.pack("<I", 2) + b"\xff\xff", struct.pack("<I", 2**32 - 1), b"\x00"])
def test_a_server_outlives_whatever_is_sent(listening, data):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(beside(listening)))
        stranger.sendall(data)
    talk = Framed(listening)
    talk.send(pb.SimulateRequest(seq=1, session_id="nobody's"))
    assert "is not configured" in talk.receive().fault.message
    with pytest.raises(StopIteration):
        talk.receive()
    talk.close()


def test_too_long_a_path_is_no_place_for_it(tmp_path):
    service = ComponentService(Fabric)
    host.listen(service, f"unix:{tmp_path}/{'c' * 100}")
    assert not service.frames


def specs(**options):
    return [ComponentSpec("nvlink0", "network", 0, "fabric", CONFIG, ComponentOptions(run="process", **options), 1)]


@contextlib.contextmanager
def opened(**options):
    with open_processes(specs(**options), None) as links:
        link = links["nvlink0"]
        link.declare([SEND])
        yield link


def answers(count=50):
    with opened() as link:
        talk = link._live._talk if hasattr(link, "_live") else link._talk
        asked = [Operation(0, (size,), op_id=size, at_ps=size * 10**9) for size in range(1, count)]
        found = [link.advance(MAX_PS, [operation], True) for operation in asked]
        return type(talk), found


def test_both_ways_answer_alike(monkeypatch):
    kind, framed = answers()
    assert kind is Framed
    monkeypatch.setattr(RemoteLink, "_conversation", lambda link: Stream(link._stub))
    kind, streamed = answers()
    assert kind is Stream and framed == streamed


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [(signal.SIGKILL, "dead", "was killed by SIGKILL"), (signal.SIGSTOP, "timeout", "gave no answer for 1 s")],
)
def test_one_that_is_gone_or_silent_is_noticed(number, code, message):
    with opened(on_failure="fail", timeout_s=1) as link:
        os.kill(link.host.pid, number)
        started = time.monotonic()
        with pytest.raises(ComponentFailure, match=message) as failure:
            link.advance(MAX_PS, [Operation(0, (1,))], True)
        assert failure.value.code == code and time.monotonic() - started < 10

"""Messages beside a server's Unix socket: the same as over gRPC, whatever comes in their way."""

import contextlib
import itertools
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
from metronome.orchestrator.coupling.link import LocalLink
from metronome.orchestrator.coupling.remote import RemoteLink
from metronome.orchestrator.errors import ComponentFailure, RecoveryWarning

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


def to_the_end(link, look=lambda link: None):
    """What a link says of sends that meet one another, stopping at every completion."""
    asked = [Operation(0, (10**6 * (1 + size % 3),), op_id=size, at_ps=size * 10**6) for size in range(20)]
    found = [link.advance(asked[-1].at_ps, asked, True)]
    while found[-1].next_event_ps is not None:
        found.append(link.advance(MAX_PS, (), True))
        look(link)
    return found


def test_an_answer_that_came_along_spares_a_message(monkeypatch):
    fabric = Fabric(CONFIG)
    fabric.declare([SEND])
    here = LocalLink("nvlink0", lambda: fabric)
    expected = to_the_end(here)
    sent = []
    send = Framed.send
    monkeypatch.setattr(Framed, "send", lambda talk, request: (sent.append(request.taken), send(talk, request)))
    with opened() as link:
        assert to_the_end(link) == expected
        assert len(sent) <= len(expected) // 2 + 1 and sum(sent) >= len(expected) // 2 - 1
        assert link.statistics(()) == here.statistics(())


def test_who_looks_sees_what_was_taken():
    fabric = Fabric(CONFIG)
    fabric.declare([SEND])
    seen, there = [], []
    here = LocalLink("nvlink0", lambda: fabric)
    expected = to_the_end(here, lambda link: seen.append((link.inspect(), link.snapshot())))
    with opened() as link:
        assert to_the_end(link, lambda link: there.append((link.inspect(), link.snapshot()))) == expected
    assert there == seen


def test_who_is_killed_with_an_answer_taken_comes_back_to_where_it_was():
    fabric = Fabric(CONFIG)
    fabric.declare([SEND])
    expected, count = to_the_end(LocalLink("nvlink0", lambda: fabric)), itertools.count()

    def kill(link):
        if next(count) % 5 == 1:
            os.kill(link.host.pid, signal.SIGKILL)

    with opened() as link, pytest.warns(RecoveryWarning):
        assert to_the_end(link, kill) == expected


class Derived(Fabric):
    """Does what the one it is derived from knows nothing of."""

    def advance(self, grant_ps, operations, stop_at_first_completion=False):
        return super().advance(grant_ps, operations, stop_at_first_completion)


@pytest.mark.parametrize(("model", "tells"), [(Fabric, True), (Derived, False)])
def test_only_one_that_knows_its_next_answer_is_asked_for_it(tmp_path, model, tells):
    service = ComponentService(model)
    host.listen(service, f"unix:{tmp_path}/c")
    service.Configure(
        pb.ConfigureRequest(session_id="s", config=codec.to_struct(CONFIG), templates=[codec.to_template(SEND)]),
        host.Context(),
    )
    talk = Framed(f"unix:{tmp_path}/c")
    operations = codec.to_operations([Operation(0, (10**6,)), Operation(0, (10**6,), 1)])
    talk.send(pb.SimulateRequest(seq=1, session_id="s", grant_ps=0, operations=operations, foretell=True))
    assert talk.receive().advanced.HasField("foretold") == tells
    talk.close()


def test_what_it_owes_in_a_state_that_it_is_put_back_to_is_no_lie():
    with opened() as link:
        link.advance(0, [Operation(0, (10**9,), 7)], True)
        state = link.snapshot()
        done = link.advance(MAX_PS, (), True)
        assert [completion.op_id for completion in done.completions] == [7]
        link.restore(state)
        assert link.advance(MAX_PS, (), True) == done

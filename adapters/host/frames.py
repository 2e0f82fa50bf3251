"""Sessions' messages beside the gRPC server's Unix socket: same service, same messages, no HTTP (component.proto)."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

from metronome.component.v1 import component_pb2 as pb
from metronome.component.v1.frames import Frames, beside

from .service import MOST_SESSIONS, ComponentService


class Refusal(Exception):
    """What a gRPC call would be aborted with."""


class Context:
    """As much of a gRPC call's context as `Simulate` needs."""

    def abort(self, code: Any, details: str) -> NoReturn:
        raise Refusal(details)


def listen(service: ComponentService, address: str) -> None:
    """Take connections beside ``unix:PATH``, a thread each, as long as the process lives; nothing where the path is too
    long for a socket's name. The service says from now on that it does."""
    path = beside(address)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)  # of a server that is gone, as gRPC does with its own
        listener.bind(str(path))
        listener.listen(MOST_SESSIONS)
    except OSError:
        listener.close()
        return
    service.frames = True
    threading.Thread(target=_accept, args=(service, listener), daemon=True, name="frames").start()


def _accept(service: ComponentService, listener: socket.socket) -> None:
    places = threading.Semaphore(MOST_SESSIONS)
    while True:
        connection, _ = listener.accept()
        if not places.acquire(blocking=False):
            connection.close()
            continue
        threading.Thread(target=_talk, args=(service, connection, places), daemon=True).start()


def _talk(service: ComponentService, connection: socket.socket, places: threading.Semaphore) -> None:
    frames = Frames(connection)
    try:
        for answer in service.Simulate(_requests(frames), Context()):
            frames.send(answer)
    except (Refusal, ValueError) as error:  # also of a message that is none, or too large
        with contextlib.suppress(OSError):
            fault = pb.Fault(code=pb.FAULT_CODE_BAD_OPERATION, message=str(error))
            frames.send(pb.SimulateResponse(fault=fault))
    except OSError:  # whoever asked is gone
        pass
    finally:
        frames.close()
        places.release()


def _requests(frames: Frames) -> Iterator[pb.SimulateRequest]:
    while (request := frames.receive(pb.SimulateRequest)) is not None:
        yield request

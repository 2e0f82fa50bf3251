"""A session's messages with a component's process: gRPC's stream, or frames where both are on one machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, Protocol

from . import codec
from . import component_pb2 as pb
from .frames import Frames, beside


class Conversation(Protocol):
    """One question is asked at a time; it may have several answers, of which the last counts."""

    def send(self, request: pb.SimulateRequest) -> None:
        """Never fails: what is wrong is seen when the answer is waited for."""
        ...

    def receive(self) -> pb.SimulateResponse:
        """Raises StopIteration where the other side has ended it, grpc.RpcError, codec.MalformedMessage."""
        ...

    def cancel(self) -> None:
        """End the wait of :meth:`receive` in another thread; the conversation is over."""
        ...

    def close(self) -> None: ...


class Stream:
    """gRPC's call `Simulate`."""

    def __init__(self, stub: Any) -> None:
        self._outbox: SimpleQueue[pb.SimulateRequest | None] = SimpleQueue()
        self._call: Any = stub.Simulate(iter(self._outbox.get, None))
        self._answers: Iterator[pb.SimulateResponse] = self._call

    def send(self, request: pb.SimulateRequest) -> None:
        self._outbox.put(request)

    def receive(self) -> pb.SimulateResponse:
        return next(self._answers)

    def cancel(self) -> None:
        self._call.cancel()

    def close(self) -> None:
        self._outbox.put(None)


class Framed:
    """A connection beside the Unix socket of a server that takes them."""

    def __init__(self, address: str) -> None:
        """Raises OSError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(beside(address)))
        except OSError:
            connection.close()
            raise
        self._frames = Frames(connection)
        self._unsent: codec.MalformedMessage | None = None

    def send(self, request: pb.SimulateRequest) -> None:
        try:
            self._frames.send(request)
        except OSError:  # it is gone, as `receive` will see
            pass
        except codec.MalformedMessage as error:
            self._unsent = error

    def receive(self) -> pb.SimulateResponse:
        if self._unsent is not None:
            raise self._unsent
        try:
            answer: pb.SimulateResponse | None = self._frames.receive(pb.SimulateResponse)
        except OSError:
            answer = None
        if answer is None:
            raise StopIteration
        return answer

    def cancel(self) -> None:
        self._frames.shut()

    def close(self) -> None:
        self._frames.shut()
        self._frames.close()

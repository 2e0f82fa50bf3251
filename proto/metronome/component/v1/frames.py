"""Simulate's messages over a plain Unix socket, each after its length.

Between two Python processes a small message and back takes a fraction of what it takes through gRPC's stream, whose
threads hand it on (docs/coupling.md).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from .codec import MAX_MESSAGE_BYTES, MalformedMessage

SUFFIX = ".frames"
READ_BYTES = 1 << 16
_LENGTH = struct.Struct("<I")


def beside(address: str) -> Path:
    """Where the server at ``unix:PATH`` takes frames."""
    return Path(address.removeprefix("unix:") + SUFFIX)


class Frames:
    """One connection. What is sent and what is received may be done by two threads, each by one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._read = bytearray()

    def send(self, message: Any) -> None:
        """Raises OSError where the other side is gone, MalformedMessage for one of more than 64 MiB."""
        data = message.SerializeToString()
        if len(data) > MAX_MESSAGE_BYTES:
            raise MalformedMessage(f"a message of {len(data)} bytes; at most {MAX_MESSAGE_BYTES}")
        self._connection.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self, kind: Any) -> Any:
        """The next message, of class ``kind``; None where the connection ends. Raises OSError, MalformedMessage."""
        if not self._has(_LENGTH.size):
            return None
        (size,) = _LENGTH.unpack_from(self._read)
        if size > MAX_MESSAGE_BYTES:
            raise MalformedMessage(f"a message of {size} bytes; at most {MAX_MESSAGE_BYTES}")
        end = _LENGTH.size + size
        if not self._has(end):
            return None
        data = bytes(self._read[_LENGTH.size : end])
        del self._read[:end]
        try:
            return kind.FromString(data)
        except DecodeError:
            raise MalformedMessage(f"{size} bytes that are no {kind.__name__}") from None

    def _has(self, size: int) -> bool:
        """Read until so many bytes are here; False where the connection ends before."""
        while len(self._read) < size:
            some = self._connection.recv(max(READ_BYTES, size - len(self._read)))
            if not some:
                return False
            self._read += some
        return True

    def shut(self) -> None:
        """End what waits on it, in whichever thread."""
        with contextlib.suppress(OSError):  # it is gone already
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.close()

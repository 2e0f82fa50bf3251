"""The framing of the Debug Adapter Protocol: JSON after a Content-Length header, both ways.

Source: the protocol's overview, "Base protocol" (microsoft.github.io/debug-adapter-protocol).
"""

from __future__ import annotations

import json
import threading
from typing import Any, BinaryIO

MOST_BYTES = 16 * 2**20  # of one message of a client


class Wire:
    """One client. Writing is safe from several threads."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._sequence = 0
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any] | None:
        """The next message; None at the end, or when what comes is not the protocol."""
        length = -1
        while True:
            line = self._reader.readline(1024)
            if not line:
                return None
            name, _, value = line.decode("ascii", "replace").partition(":")
            if name.strip().lower() == "content-length" and value.strip().isdigit():
                length = int(value)
            if not line.strip():
                break
        if not 0 <= length <= MOST_BYTES:
            return None
        body = self._reader.read(length)
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return message if len(body) == length and isinstance(message, dict) else None

    def event(self, name: str, body: dict[str, Any] | None = None) -> None:
        self._write({"type": "event", "event": name, **({"body": body} if body is not None else {})})

    def answer(self, request: dict[str, Any], body: dict[str, Any] | None = None, error: str = "") -> None:
        message = {
            "type": "response",
            "request_seq": request.get("seq", 0),
            "command": request.get("command", ""),
            "success": not error,
        }
        if error:
            message |= {
                "message": error,
                "body": {"error": {"id": 1, "format": error.replace("{", "{{"), "showUser": True}},
            }
        elif body is not None:
            message["body"] = body
        self._write(message)

    def _write(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._sequence += 1
            data = json.dumps({"seq": self._sequence, **message}, default=str).encode()
            self._writer.write(b"Content-Length: %d\r\n\r\n" % len(data) + data)
            self._writer.flush()

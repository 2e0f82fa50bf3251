"""How far a model is that drives a tool: the calls so far, and how long the present one has taken.

A call is bounded by its tool's own time limit, so a tool that hangs is a failure then; an adapter that hangs itself
says the same again and again, which is silence.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class _Calls:
    """Of all tools of this process. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._running: dict[int, float] = {}  # number of the call -> when it began

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._lock:
            self._count += 1
            number = self._count
            self._running[number] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]

    def say(self) -> str:
        with self._lock:
            began = max(self._running.values(), default=None)
            since = "" if began is None else f", the present one for {time.monotonic() - began:.0f} s"
            return f"{self._count} calls of tools{since}"


CALLS = _Calls()


class SaysProgress:
    """Feature PROGRESS of a model that drives a tool."""

    def progress(self) -> str:
        return CALLS.say()

"""Signals stay out of gRPC's own code.

A signal's handler raises wherever the main thread is. Inside gRPC that leaves a lock taken for ever: the run hangs
while it ends, or gRPC's threads die with a traceback. So while links to other processes are open, a signal that comes
inside gRPC waits at its door.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Door:
    """Enter it (``with DOOR:``) around calls of gRPC; a signal kept meanwhile is handled on the way out.

    Whoever may wait long inside looks at :attr:`knocked` from another thread and ends the wait. Only the main
    thread is concerned: handlers run in no other.
    """

    def __init__(self) -> None:
        self._main = threading.main_thread().ident
        self._depth = 0
        self._guarded = 0
        self._kept: tuple[Callable[[int, FrameType | None], Any], int] | None = None

    @property
    def knocked(self) -> bool:
        """Whether a signal waits for the main thread to come out."""
        return self._kept is not None

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """While in this context, handlers that are Python functions respect the door; nested use is one use."""
        if threading.get_ident() != self._main or self._guarded:
            yield
            return
        replaced = {number: signal.getsignal(number) for number in SIGNALS}
        self._guarded = 1
        try:
            for number, handler in replaced.items():
                if callable(handler):
                    signal.signal(number, self._keeping(handler))
            yield
        finally:
            for number, handler in replaced.items():
                if callable(handler) and signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL):
                    signal.signal(number, handler)
            self._guarded = 0

    def _keeping(self, handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def keep(number: int, frame: FrameType | None) -> None:
            if self._depth:
                self._kept = (handler, number)
            else:
                self._kept = None
                handler(number, frame)

        return keep

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._depth += 1

    def __exit__(self, *exc: object) -> None:
        if threading.get_ident() != self._main:
            return
        self._depth -= 1
        if self._kept is not None and not self._depth:
            (handler, number), self._kept = self._kept, None
            handler(number, None)


DOOR = Door()

"""A signal that comes while results are being written waits until they are."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], Any]


class Patience:
    """Once it is ``held`` a first signal waits for the end of `watching`; a second one acts at once.

    Only the main thread is concerned, and only handlers that are Python functions.
    """

    def __init__(self) -> None:
        self.held = False
        self._kept: tuple[Handler, int] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handlers are as before when this is left, and a signal that has waited is handled then."""
        replaced: dict[int, Handler] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    replaced[number] = handler
                    signal.signal(number, self._waiting(handler))
        try:
            yield
        finally:
            for number, before in replaced.items():
                if signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL):
                    signal.signal(number, before)
        if self._kept is not None:
            (handler, number), self._kept = self._kept, None
            handler(number, None)

    def _waiting(self, handler: Handler) -> Handler:
        def wait(number: int, frame: FrameType | None) -> None:
            if self.held and self._kept is None:
                self._kept = (handler, number)
            else:
                handler(number, frame)

        return wait

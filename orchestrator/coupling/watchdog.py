"""Who notices that a component has become silent."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Protocol

from .interrupts import DOOR


class Watched(Protocol):
    """A link, as far as the watchdog knows it; it is called from the watchdog's thread."""

    def interrupt(self, now: float) -> None:
        """A signal waits (``now`` of the monotonic clock, s)."""
        ...

    def check_silence(self, now: float) -> None: ...


class Watchdog:
    """One thread that ends the wait for a component that stays silent beyond its limit.

    Liveness is not progress: a process may answer pings and never the question. So no pings are sent: a server may take
    them for an attack and close the connection to a component that thinks for long (GOAWAY, too_many_pings).
    """

    def __init__(self) -> None:
        self._links: list[Watched] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        self._thread.start()

    def add(self, link: Watched) -> None:
        self._links.append(link)

    def drop(self, link: Watched) -> None:
        with contextlib.suppress(ValueError):
            self._links.remove(link)

    def close(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            for link in tuple(self._links):
                if DOOR.knocked:
                    link.interrupt(time.monotonic())
                link.check_silence(time.monotonic())

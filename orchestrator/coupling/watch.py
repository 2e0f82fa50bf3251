"""A model of the user's own, called in this process, that does not come back: found out, and the call ended.

A call within a process is ended by nothing but a signal. So a thread looks on while the model is asked, and when it has
been silent for its ``timeout_s`` interrupts the main thread as Ctrl-C would; the link then says who it was.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence

from metronome.hwmodels.interface import Advanced, Component, Operation

from ..errors import ComponentFailure
from .link import LocalLink, doing

LOOKS = 20  # within a timeout


class WatchedLink(LocalLink):
    """A `LocalLink` whose component is given up after ``timeout_s`` without an answer, or progress if it tells any.

    Only where the run is in the main thread, which alone can be interrupted, and its SIGINT is not ignored.
    """

    def __init__(self, name: str, make: Callable[[], Component], timeout_s: float) -> None:
        super().__init__(name, make)
        self._timeout_s = timeout_s
        self._since: float | None = None
        self._overdue = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def again(self) -> LocalLink:
        return WatchedLink(self.name, self._make, self._timeout_s)

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        if self._thread is None and threading.current_thread() is threading.main_thread():
            self._thread = threading.Thread(target=self._look_on, name=f"watch {self.name}", daemon=True)
            self._thread.start()
        self._since = time.monotonic()
        try:
            return super().advance(grant_ps, operations, stop_at_first)
        except KeyboardInterrupt:
            if not self._overdue:
                raise
            what = f"gave no answer for {self._timeout_s:g} s"
            raise ComponentFailure(self.name, what, doing(grant_ps, operations)) from None
        finally:
            self._since = None

    def progression(self, operation: Operation, more: Sequence[int], count: int) -> None:
        """Each is asked for, and watched."""

    def _look_on(self) -> None:
        """In a thread of its own, until the link is closed."""
        told, heard = "", 0.0
        progress: Callable[[], str] = getattr(self.component, "progress", str)
        while not self._ended.wait(self._timeout_s / LOOKS):
            since = self._since
            if since is None:
                continue
            says = progress()
            if heard < since or says != told:
                told, heard = says, time.monotonic()
            if time.monotonic() - max(since, heard) > self._timeout_s and since == self._since:
                self._overdue = True
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    def close(self) -> None:
        self._ended.set()

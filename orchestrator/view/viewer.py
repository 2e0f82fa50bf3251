"""The sessions on show, and the one thread that touches them.

Requests of the page come in on threads of the server's and are done here one after another, in the thread that made the
sessions. A run goes on in slices of wall time; what the page asks meanwhile is answered between two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Condition
from time import monotonic
from typing import Any, Protocol, TypeVar

from ..debug.moves import Moves
from ..debug.session import DebugSession
from ..debug.timeline import Timeline
from ..errors import InputError

SLICE_S = 0.04  # of a run, before questions are answered
WAKE_S = 0.2  # a signal that comes as the thread falls asleep is seen after this time
GOING = "it goes on"
MOST = 4  # sessions open at once: each holds a run and its checkpoints
T = TypeVar("T")


class Opener(Protocol):
    """Where sessions come from. Each raises InputError and ComponentFailure."""

    title: str
    total: int | None

    def open(self, timeline: Timeline) -> DebugSession:
        """What the command line names; ``total`` is how many requests it will have, where that is known."""
        ...

    def fork(self, session: DebugSession, timeline: Timeline) -> DebugSession:
        """The same run at the same event, with components of its own."""
        ...

    def again(self, session: DebugSession, path: str, value: str, timeline: Timeline) -> DebugSession:
        """The same scenario with another value, from its start."""
        ...


@dataclass(slots=True)
class Shown:
    """A session with its moves and its timeline. ``title``: what makes it another than the first."""

    session: DebugSession
    timeline: Timeline
    title: str
    moves: Moves = field(init=False)
    reason: str = "start"

    def __post_init__(self) -> None:
        self.moves = Moves(self.session)


@dataclass(slots=True)
class Running:
    """A session on its way. ``piece`` takes it on for some time; it gives a reason where the session rests."""

    shown: Shown
    piece: Callable[[], str | None]
    back: bool
    began_s: float
    had_done: int


class Viewer:
    """Use as a context manager: leaving it closes all sessions. `serve` is the loop of the thread that made it."""

    def __init__(self, opener: Opener) -> None:
        self.opener = opener
        self.shown: dict[int, Shown] = {}
        self.running: Running | None = None
        self.changed = Condition()
        self.version = 0
        self.progress: dict[str, Any] = {}
        self._stack = ExitStack()
        self._inbox: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._last, self._paused = 0, False
        self.add(opener.title, opener.open)

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    # Sessions -------------------------------------------------------------------------------------

    def add(self, title: str, make: Callable[[Timeline], DebugSession]) -> int:
        """One more session; returns its number. Raises InputError where there are too many, or it cannot be made."""
        if len(self.shown) >= MOST:
            raise InputError("view", "fork", None, f"{MOST} runs are open; close one first")
        timeline = Timeline()
        session = make(timeline)
        self._stack.callback(session.__exit__)
        self._last += 1
        self.shown[self._last] = Shown(session, timeline, title)
        self.tell()
        return self._last

    def get(self, number: int) -> Shown:
        """Raises InputError."""
        if number not in self.shown:
            raise InputError("view", "session", number, f"one of {', '.join(map(str, self.shown))}")
        return self.shown[number]

    def close(self, number: int) -> None:
        """Forget a session; the first stays. Raises InputError."""
        if number == min(self.shown):
            raise InputError("view", "session", number, "the first one is not closed")
        shown = self.get(number)
        self.rest(shown)
        del self.shown[number]
        shown.session.__exit__()
        self.tell()

    def rest(self, shown: Shown) -> None:
        """Raises InputError where something runs: a session is moved at rest only."""
        if self.running:
            what = "it runs" if self.running.shown is shown else "another one runs"
            raise InputError("view", "move", None, f"{what}; pause it first")

    # Running --------------------------------------------------------------------------------------

    def run(self, shown: Shown, stops: bool = True, until: Callable[[], str | None] = lambda: None) -> None:
        """Let a session run: to a stop, or without ``stops`` to where ``until`` gives a reason, or to the end."""
        session = shown.session

        def piece() -> str | None:
            deadline = monotonic() + SLICE_S
            reason = session.run(lambda: until() or (GOING if monotonic() > deadline else None), stops)
            return None if reason == GOING else reason

        self._begin(shown, piece)

    def search_back(self, shown: Shown) -> None:
        """Let a session go back to the last stop before."""
        search = shown.session.searching_back()

        def piece() -> str | None:
            deadline = monotonic() + SLICE_S
            try:
                while monotonic() < deadline:
                    next(search)
            except StopIteration as found:
                return str(found.value)
            return None

        self._begin(shown, piece, back=True)

    def _begin(self, shown: Shown, piece: Callable[[], str | None], back: bool = False) -> None:
        """The first piece at once: what is near is there when the click is answered."""
        self._paused = False
        self.running = Running(shown, piece, back, monotonic(), _done(shown.session))
        self._go_on(self.running)

    def pause(self) -> None:
        """From any thread: whatever runs rests before its next event."""
        self._paused = True
        for shown in list(self.shown.values()):
            shown.session.interrupted = True

    def _go_on(self, running: Running) -> None:
        session, reason = running.shown.session, None
        if self._paused and not running.back:
            reason = "interrupted"
        else:
            session.interrupted = self._paused
            reason = running.piece()
        if reason is not None:
            running.shown.reason = reason.strip()
            self.running = None
        self.tell()

    def tell(self) -> None:
        """Whoever listens hears how far it is."""
        self.progress = self._progress()
        with self.changed:
            self.version += 1
            self.changed.notify_all()

    def _progress(self) -> dict[str, Any]:
        running = self.running
        if running is None:
            return {"running": None, "sessions": list(self.shown)}
        session = running.shown.session
        number = next(n for n, shown in self.shown.items() if shown is running.shown)
        done, wall_s = _done(session), monotonic() - running.began_s
        total = None if running.back else self.opener.total
        ahead, went = (total or 0) - done, done - running.had_done
        known = session.frontier if session.position < session.frontier else None
        return {
            "running": number,
            "back": running.back,
            "sessions": list(self.shown),
            "position": session.position,
            "events": known,
            "now_ps": str(session.now_ps),
            "done": done,
            "total": total,
            "wall_s": round(wall_s, 1),
            "eta_s": round(wall_s * ahead / went, 1) if total and went > 0 else None,
        }

    # The thread -----------------------------------------------------------------------------------

    def ask(self, job: Callable[[], T]) -> T:
        """From another thread: have it done here, and wait for it. Raises what it raises."""
        answer: Future[T] = Future()
        self._inbox.put((job, answer))
        return answer.result()

    def serve(self) -> None:
        """Do what is asked, until KeyboardInterrupt."""
        while True:
            try:
                job, answer = self._inbox.get(timeout=WAKE_S) if self.running is None else self._inbox.get_nowait()
            except Empty:
                if self.running:
                    self._go_on(self.running)
                continue
            try:
                answer.set_result(job())
            except Exception as error:  # it is told to whoever asked
                answer.set_exception(error)


def _done(session: DebugSession) -> int:
    recorder = session.simulation.recorder
    return recorder.over + len(recorder.failed)

"""The clock owner: runs events in order and grants time to stepped components.

The one rule that makes a star with one clock deadlock-free: whoever holds the globally smallest
time may always act. The queue's head is one such time; each stepped component's promise (the
earliest it will act) is another. A component is granted time up to the smallest of the others, so
nothing can reach it in its past.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..errors import StalledError, TimeError
from ..units import MAX_PS
from .instrument import Hook, Instruments
from .queue import Event, EventQueue, Priority

MAX_MICROSTEPS = 10_000


class Stepped(Protocol):
    """A component that shares the clock."""

    @property
    def bound_ps(self) -> int | None:
        """The earliest time it may act: that of operations not yet handed over, or of its own next
        event; None when idle."""
        ...

    def step(self, grant_ps: int) -> None:
        """Let it act up to ``grant_ps`` or its first completion; completions become kernel events."""
        ...

    def waiting_for(self) -> str:
        """What it has not finished, for the message of a stall; empty when idle."""
        ...


class Kernel:
    """Owns ``now``. Single-threaded; actions run one after another in the queue's order.

    ``events`` counts those taken from the queue; it is the number of the present one, from 1. Instruments are
    told of each before it acts (hook ``event``). ``needed`` says whether a run of which only events in the background
    are left is to go on.
    """

    def __init__(self, instruments: Instruments | None = None) -> None:
        self.told: Hook[[Event]] = (instruments or Instruments()).hook("event")
        self.now_ps = 0
        self.microstep = 0
        self.events = 0
        self.queue = EventQueue()
        self.needed: Callable[[], bool] = lambda: False
        self._background: set[int] = set()  # by order in the queue
        self._stepped: list[Stepped] = []
        self._current = (Priority.COMPLETION, -1)

    def attach(self, stepped: Stepped) -> None:
        """Add a stepped component; the order of calls is their rank."""
        self._stepped.append(stepped)

    def at(
        self,
        time_ps: int,
        priority: Priority,
        rank: int,
        kind: str,
        about: int,
        action: Callable[[], None],
        cause: int | None = None,
        subject: object = None,
    ) -> None:
        """Run ``action`` at that time; ``kind``, ``about`` and ``subject`` say what it is about (`Event`).

        ``cause`` is the event it comes from, if not the present one.

        At the present instant it runs in this microstep if the order still allows it, else in the
        next. Raises TimeError for the past, beyond int64, or a loop in zero time.
        """
        cause = self.events if cause is None else cause
        if time_ps > self.now_ps:
            if time_ps > MAX_PS:
                raise TimeError(f"time {time_ps} ps is beyond 2^63-1 ps (106 days)")
            self.queue.push(time_ps, 0, priority, rank, kind, about, cause, action, subject)
            return
        if time_ps < self.now_ps:
            raise TimeError(f"event at {time_ps} ps, but it is {self.now_ps} ps already")
        microstep = self.microstep + ((priority, rank) < self._current)
        if microstep > MAX_MICROSTEPS:
            raise TimeError(f"more than {MAX_MICROSTEPS} microsteps at {time_ps} ps: a loop in zero time")
        self.queue.push(time_ps, microstep, priority, rank, kind, about, cause, action, subject)

    def passed(self, time_ps: int, priority: Priority, rank: int) -> bool:
        """Whether an event of that time and place, in its first microstep, would have acted before the present one."""
        return (time_ps, 0, priority, rank) < (self.now_ps, self.microstep, *self._current)

    def in_background(
        self, time_ps: int, priority: Priority, rank: int, kind: str, about: int, action: Callable[[], None]
    ) -> None:
        """As `at`, of an event that does not keep a run going: the run may end before it, and does before the clock
        ends."""
        if time_ps <= MAX_PS:
            self._background.add(self.queue.inserted)
            self.at(time_ps, priority, rank, kind, about, action)

    def run(self, check: Callable[[Event], None] | None = None) -> None:
        """Until nothing is left to happen. ``check`` may refuse an event before it acts by raising.

        Raises StalledError when work is left over, and what ``check`` raises.
        """
        while (event := self.next()) is not None:
            if check is not None:
                check(event)
            event.action()

    def next(self) -> Event | None:
        """Take the next event from the queue, for the caller to act; None when nothing is left to happen.

        Components that must act before it do so now. Raises StalledError when work is left over.
        """
        queue = self.queue
        while True:
            head = queue.head_ps
            if self._stepped:
                mover, grant = self._next_stepped(head)
                if mover is not None:
                    mover.step(grant)
                    continue
            if head is None:
                self._check_stall()
                return None
            if self._background and len(self._background) == len(queue) and not self.needed():
                return None  # what components still have is for the background, too
            event = queue.pop()
            if self._background:
                self._background.discard(event.order)
            self.now_ps = event.time_ps
            self.microstep = event.microstep
            self._current = (event.priority, event.rank)
            self.events += 1
            if self.told.listeners:
                self.told(event)
            return event

    def _next_stepped(self, head: int | None) -> tuple[Stepped | None, int]:
        """The component that must act before the queue's head, if any, and how far it may go."""
        # Events of this instant run first: they may hand over more operations of the same time. A completion that falls
        # on the head's instant must be known before the head runs, though.
        if head == self.now_ps:
            return None, 0
        mover, first, second = None, MAX_PS, MAX_PS
        for stepped in self._stepped:
            bound = stepped.bound_ps
            if bound is None:
                continue
            if bound < first:
                mover, first, second = stepped, bound, first
            else:
                second = min(second, bound)
        if mover is None or (head is not None and first > head):
            return None, 0
        return mover, min(second, MAX_PS if head is None else head)

    def _check_stall(self) -> None:
        waiting = [text for text in (s.waiting_for() for s in self._stepped) if text]
        if waiting:
            raise StalledError("nothing can happen any more, but " + "; ".join(waiting))

"""The event queue: a heap whose order is total and comes from configuration alone."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from typing import NamedTuple


class Priority(IntEnum):
    """What comes first within one instant: outputs, then arrivals, then decisions upon both."""

    COMPLETION = 0
    ARRIVAL = 1
    DECISION = 2


class Event(NamedTuple):
    """What happens when. Compared field by field; ``order`` is unique, so what follows it never is.

    ``rank`` is the place of the component or instance in the configuration. ``kind`` and ``about`` (a
    request, a step, an operation: by number) say what it is for whoever looks on; ``cause`` is the
    number of the event that made it, 0 for what was there at the start. ``subject`` is what it is about, where that
    is more than a number: a request, a step in flight.
    """

    time_ps: int
    microstep: int
    priority: Priority
    rank: int
    order: int
    kind: str
    about: int
    cause: int
    action: Callable[[], None]
    subject: object = None


class EventQueue:
    """A priority queue of events; ties in time, microstep, priority and rank go by insertion.

    ``inserted`` counts those ever put in: it is the order of the next.
    """

    def __init__(self) -> None:
        self._heap: list[Event] = []
        self._withdrawn: set[int] = set()  # by order, still in the heap
        self.inserted = 0

    def push(
        self,
        time_ps: int,
        microstep: int,
        priority: Priority,
        rank: int,
        kind: str,
        about: int,
        cause: int,
        action: Callable[[], None],
        subject: object = None,
    ) -> None:
        order, self.inserted = self.inserted, self.inserted + 1
        heappush(self._heap, Event(time_ps, microstep, priority, rank, order, kind, about, cause, action, subject))

    def withdraw(self, order: int) -> None:
        """An event that is in the queue will not be."""
        self._withdrawn.add(order)
        self._drop_withdrawn()

    def pop(self) -> Event:
        event = heappop(self._heap)
        if self._withdrawn:
            self._drop_withdrawn()
        return event

    def _drop_withdrawn(self) -> None:
        """Such events leave the heap when they come to its head: the head is always one that will be."""
        while self._heap and self._heap[0].order in self._withdrawn:
            self._withdrawn.discard(heappop(self._heap).order)

    @property
    def head_ps(self) -> int | None:
        """Time of the next event, None when empty."""
        return self._heap[0].time_ps if self._heap else None

    @property
    def head(self) -> Event | None:
        return self._heap[0] if self._heap else None

    def pending(self) -> list[Event]:
        """All events to come, in order."""
        return sorted(event for event in self._heap if event.order not in self._withdrawn)

    def __len__(self) -> int:
        return len(self._heap) - len(self._withdrawn)

"""The debugger's tape: every message of the run so far, to go back over and to rebuild components from."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..coupling.link import Link
from ..errors import DivergenceError
from ..record.exchange import Exchange, operations_of, templates_of


class MemoryTape:
    """``sessions`` by name, ``log`` all messages in order. ``snapshots`` of a session by its position."""

    interrupted = False

    def __init__(self, known: Iterable[Exchange] = ()) -> None:
        self.event = 0
        self.incidents: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, list[Exchange]] = {}
        self.log: list[Exchange] = []
        self.snapshots: dict[str, dict[int, dict[str, Any]]] = {}
        for exchange in known:
            self.add(exchange)

    def get(self, session: str, index: int) -> Exchange | None:
        known = self.sessions.get(session, ())
        return known[index] if index < len(known) else None

    def add(self, exchange: Exchange) -> None:
        self.sessions.setdefault(exchange.session, []).append(exchange)
        self.log.append(exchange)

    def mark(self, component: str, incident: dict[str, Any]) -> None:
        self.incidents[component] = incident

    def of_event(self, event: int) -> list[Exchange]:
        """Messages between that event and the next."""
        first = bisect_left(self.log, event, key=_event)  # events never run back
        return self.log[first : bisect_right(self.log, event, first, key=_event)]

    def cut(self, positions: Mapping[str, int], event: int) -> None:
        """Forget what comes after these positions: the run goes another way from here. Of sessions that are not here
        any more, or not yet, what comes with that event or after it."""
        left = {}
        for session, known in self.sessions.items():
            past = positions.get(session, bisect_left(known, event, key=_event))
            left[session] = known[:past]
        counts = dict.fromkeys(left, 0)
        log = []
        for exchange in self.log:
            if counts[exchange.session] < len(left[exchange.session]):
                counts[exchange.session] += 1
                log.append(exchange)
        self.sessions, self.log = left, log
        for session, taken in self.snapshots.items():
            for position in [p for p in taken if p > len(left.get(session, ()))]:
                del taken[position]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Whatever is said within is not kept."""
        lengths, said = {session: len(known) for session, known in self.sessions.items()}, len(self.log)
        try:
            yield
        finally:
            self.sessions = {session: self.sessions[session][:length] for session, length in lengths.items()}
            del self.log[said:]

    def rebuild(self, root: Link, session: str, position: int) -> tuple[Link, int]:
        """A fresh session of the component, as this one was after ``position`` messages.

        From its latest snapshot before, if there is one, else by giving it all its messages again; each
        answer must be the one it gave before (raises DivergenceError). Returns how many were given.
        """
        link = root.again()
        known = self.sessions[session][:position]
        taken = [p for p in self.snapshots.get(session, {}) if p <= position]
        start = max(taken, default=0)
        given = 0
        for index, exchange in enumerate(known):
            if exchange.verb == "declare":
                link.declare(templates_of(exchange))
                if start > index:
                    link.restore(self.snapshots[session][start])
            elif exchange.verb == "advance" and index >= start:
                give(link, exchange)
                given += 1
        return link, given


def _event(exchange: Exchange) -> int:
    return exchange.event


def give(link: Link, exchange: Exchange) -> None:
    """One message again; raises DivergenceError if it is answered otherwise."""
    answer = link.advance(*operations_of(exchange))
    if answer != exchange.answer:
        what = f"{exchange.session} answers otherwise than before, so its past cannot be rebuilt"
        raise DivergenceError(exchange.event, what, {"answer": (exchange.answer, answer)})

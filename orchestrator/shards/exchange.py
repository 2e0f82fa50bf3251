"""Reports of loads between parts that run at the same time: nobody goes on to the next before all have told theirs.

A router that sees loads as they were reported last knows nothing new until the next reports: for so long parts need not
know of one another.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence

from ..serving.fleet.reports import Report
from ..sweep.worker import ask

Row = array  # of doubles: a Report's numbers, replica after replica
Answer = Callable[[Mapping[int, "Row[float]"]], None]
WIDTH = len(Report._fields)


class Meeting:
    """Where parts meet: each time's rows by part, and who waits for the others'. What was told is kept: a part whose
    worker was killed goes through it again."""

    def __init__(self, parts: int) -> None:
        self._running = set(range(parts))
        self._told: dict[int, dict[int, Row[float]]] = {}  # by time
        self._over: set[int] = set()  # times at which all have met
        self._waiting: dict[int, tuple[int, Answer]] = {}

    def reported(self, part: int, time_ps: int, row: Row[float], answer: Answer) -> None:
        """``answer`` is given the rows of all parts when they are there."""
        if time_ps not in self._over:
            self._told.setdefault(time_ps, {})[part] = row
        self._waiting[part] = time_ps, answer
        self._let_go()

    def ended(self, part: int) -> None:
        """It has served all it was sent, so no request is routed any more: the others need not wait for it."""
        self._running.discard(part)
        self._let_go()

    def _let_go(self) -> None:
        for part, (time_ps, answer) in sorted(self._waiting.items()):
            if time_ps in self._over or self._running <= self._told[time_ps].keys():
                self._over.add(time_ps)
                del self._waiting[part]
                answer(self._told[time_ps])


class Member:
    """A part's end of it. ``replicas`` of each part, by number."""

    def __init__(self, part: int, replicas: Sequence[Sequence[int]]) -> None:
        self._part, self._replicas = part, replicas

    def exchange(self, now_ps: int, reports: Mapping[int, Report]) -> dict[int, Report]:
        """Ours for all of that time; of a part that has ended none."""
        mine = array("d", [number for one in self._replicas[self._part] for number in reports[one]])
        found: dict[int, Report] = {}
        for part, row in ask(("report", now_ps, mine)).items():
            for place, replica in enumerate(self._replicas[part]):
                waiting, running, queued, kv_use = row[WIDTH * place : WIDTH * (place + 1)]
                found[replica] = Report(int(waiting), int(running), int(queued), kv_use)
        return found

"""A member's place among those wired together: what waits for it, what it owes, what it has asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

from ..interface import Advanced, Completion, ComponentError, Operation
from .wires import Member, Wire

NEVER = 1 << 63  # after every time there is
OUTSIDE = -1
MOST_REMEMBERED = 1_000  # operations answered, so that a second answer can be called by its name


class PortFault(ComponentError):
    """A member did what nobody wired to it can live with; the text names component, port and operation."""

    def __init__(self, component: str, what: str) -> None:
        super().__init__(f"{component} {what}")
        self.component, self.what = component, what


class Origin(NamedTuple):
    """An operation that somebody asked of a member. In the order of the first four it is handed over.

    ``source`` is who asks, OUTSIDE from outside, where ``way`` is the microstep; else it is the number of the ``wire``.
    ``op_id`` is the asker's own, ``template`` that of the member's session.
    """

    at_ps: int
    source: int
    way: int
    op_id: int
    template: int
    wire: Wire | None
    kind: str
    values: tuple[int, ...]

    def text(self, names: Sequence[str]) -> str:
        if self.wire is None:
            return f"operation {self.op_id} ({self.kind})"
        return f"{self.kind} {self.op_id} of {names[self.wire.source]}, port {self.wire.port.name}"


Back = tuple[int, int, int, Completion]  # at, number of the wire, id of the request; the answer


class Place:
    """``rank`` is its number. ``next_ps`` is its promise, ``due_ps`` when the first of what waits for it is due,
    ``asks_ps`` and ``acted_ps`` before which nothing makes it ask or complete in the present window."""

    __slots__ = (
        "acted_ps",
        "asked",
        "asks_ps",
        "back",
        "due",
        "due_ps",
        "first_id",
        "kinds",
        "lookahead",
        "member",
        "next_id",
        "next_ps",
        "open",
        "outside",
        "rank",
        "reached_ps",
        "remembered",
        "used",
        "wires",
    )

    def __init__(self, member: Member, rank: int, wires: Sequence[Wire]) -> None:
        self.member, self.rank = member, rank
        self.wires = {wire.port.name: wire for wire in wires if wire.source == rank}
        self.kinds = {name: {t.id: t.kind for t in wire.port.templates} for name, wire in self.wires.items()}
        self.lookahead = min((wire.latency_ps for wire in self.wires.values()), default=NEVER)
        self.reached_ps = self.asks_ps = self.acted_ps = 0
        self.next_ps = self.due_ps = NEVER
        self.first_id = self.next_id = 0  # of operations in its session: of this window's first, of the next
        self.due: list[Origin] = []
        self.back: list[Back] = []
        self.open: dict[int, Origin] = {}  # what it owes, by id in its session
        self.outside = 0  # of these, from outside
        self.asked: dict[int, Wire] = {}  # its requests not answered, by its own id
        self.used = dict.fromkeys(self.wires, 0)  # credits, by port
        self.remembered: dict[int, Origin] = {}  # answered lately

    def take(self, asked: Origin) -> None:
        self.due.append(asked)
        self.due_ps = min(self.due_ps, asked.at_ps)

    def send(self, grant_ps: int, bound_ps: int) -> None:
        """Grant it time, with all that is due by then; what comes at ``bound_ps`` may not be all there yet."""
        upto = min(grant_ps, bound_ps - 1)
        self.asks_ps, self.acted_ps = min(self.next_ps, self.due_ps), min(self.next_ps, self.due_ps + 1)
        operations, answers = self._operations(upto), self._answers(upto)
        self.due_ps = min(self.due[0][0] if self.due else NEVER, self.back[0][0] if self.back else NEVER)
        self.member.send(grant_ps, operations, answers)

    def _operations(self, upto: int) -> list[Operation]:
        self.due.sort()
        count = _until(self.due, upto)
        operations, number = [], self.next_id
        self.first_id = number
        owed = self.open
        for asked in self.due[:count]:
            owed[number] = asked
            operations.append(Operation(asked[4], asked[7], number, asked[0]))
            number += 1
        self.next_id = number
        del self.due[:count]
        return operations

    def _answers(self, upto: int) -> list[Completion]:
        self.back.sort()
        count = _until(self.back, upto)
        answers = [back[3] for back in self.back[:count]]
        for answer in answers:
            self.used[self.asked.pop(answer[0]).port.name] -= 1
        del self.back[:count]
        return answers

    def withdraw(self) -> None:
        """The member has refused what it was sent last."""
        for op_id in range(self.first_id, self.next_id):
            self.outside -= self.open.pop(op_id).wire is None

    def check(self, answer: Advanced, grant_ps: int) -> None:
        """Of time: it must not run back, nor beyond the grant. Raises PortFault."""
        name, reached, promised = self.member.name, answer.reached_ps, answer.next_event_ps
        if reached > grant_ps:
            raise PortFault(name, f"reached {reached} ps, beyond its grant of {grant_ps} ps")
        if reached < self.reached_ps:
            raise PortFault(name, f"says it is at {reached} ps, and was at {self.reached_ps} ps before")
        if promised is not None and promised < reached:
            raise PortFault(name, f"promises to act at {promised} ps, and is at {reached} ps already")

    def forget(self) -> None:
        """What was answered longer ago, once it is much."""
        if len(self.remembered) > MOST_REMEMBERED:
            self.remembered.clear()


def _until(waiting: Sequence[Origin] | Sequence[Back], upto: int) -> int:
    """How many of them, in order, are due by then."""
    if not waiting or waiting[-1][0] <= upto:
        return len(waiting)
    return bisect_right(waiting, upto, key=itemgetter(0))

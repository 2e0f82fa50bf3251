"""Islands of a session: which operations they were asked, and what each of these asks at ports, played once more.

An operation is played at most once, however often somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from metronome.hwmodels.interface import Operation, Template

from ..coupling.executor import InFlight
from ..coupling.program import Stretch
from ..coupling.wired.inside import Passed, Played, island, played
from ..coupling.wired.island import IslandLink
from ..errors import InputError
from ..lowering.work import Work
from .session import DebugSession
from .stalls import behind, templates_of


class Question(NamedTuple):
    """An operation that an island was asked."""

    component: str
    template: int
    values: tuple[int, ...]


class Ported:
    """Raises InputError where there is nothing to play, ComponentFailure."""

    def __init__(self, session: DebugSession) -> None:
        self._session = session
        self._played: dict[Question, tuple[IslandLink, Played]] = {}

    def islands(self) -> dict[str, IslandLink]:
        """By who is asked from outside."""
        simulation = self._session.simulation
        found = {spec.name: behind(simulation, spec) for spec in simulation.specs}
        return {name: link for name, link in found.items() if link}

    def asked_for(self) -> dict[str, frozenset[str]]:
        """Who is asked at ports only, and for which kinds of operation."""
        return {name: kinds for link in self.islands().values() for name, kinds in link.asked_for.items()}

    def templates(self, component: str) -> dict[int, Template]:
        return templates_of(self._session.simulation, component)

    def play(self, asked: Question) -> Played:
        link = island(self._session.inside.link(asked.component).live.link)
        known = self._played.get(asked)
        if known is None or known[0] is not link:  # `set` has put another component in its place
            templates = list(self.templates(asked.component).values())
            known = self._played[asked] = link, played(link, templates, Operation(asked.template, asked.values))
        return known[1]

    def asked_by(self, event: int) -> list[Question]:
        """What islands were asked by that event, and had not been before: equal questions are asked once."""
        messages = self._session.tape.of_event(event)
        if not messages:
            return []
        names = self.islands()
        found = [
            Question(link.name, template, tuple(values))
            for link in self._session.taped_links()
            if link.name in names
            for message in messages
            if message.session == link.session and message.verb in ("advance", "send")
            for template, values, *_ in message.asked[1]
        ]
        return list(dict.fromkeys(found))

    def named(self, asked: Question) -> str:
        template = self.templates(asked.component)[asked.template]
        return f"{template.kind} '{template.layer}' {list(asked.values)} on {asked.component}"

    def step(self) -> InFlight | None:
        """Which the present event ends a part of."""
        return self._session.inside.step()

    def computed(self, step: InFlight) -> Iterator[tuple[Work, tuple[int, ...], int]]:
        """Operations of islands that the step's present event ends, their numbers, and what they took there, ps."""
        names, segment = self.islands(), step.segment
        if not names or not isinstance(segment, Stretch):
            return
        batches = (step.together,) if segment.joint else step.batches
        for portions, batch in zip(segment.taken(step.ways), batches, strict=True):
            for portion in portions:
                values = portion.operands.of(batch)
                cost = portion.operations.known.get(values)
                if portion.port.name in names and any(values) and cost:
                    yield from ((w, values, t) for w, t in zip(portion.operations.works, cost.parts_ps, strict=True))


def causes(passed: Sequence[Passed], number: int, asked_from_outside: str) -> list[tuple[int, str]]:
    """Why a request was made: places of requests, from it back to the operation, each with what made its asker ask.

    At the moment it was asked for an answer came, or an operation, or neither: then its asker's own clock did.
    """
    found: list[tuple[int, str]] = []
    while True:
        one = passed[number]
        before = [n for n, other in enumerate(passed) if other.asker == one.asker and other.finish_ps == one.asked_ps]
        serves = [n for n, other in enumerate(passed) if other.target == one.asker and _open(other, one.asked_ps)]
        if before:
            found.append((number, f"as the answer to request {before[0] + 1} came"))
            number = before[0]
            continue
        begins = one.asked_ps == 0 if one.asker == asked_from_outside else False
        begins = begins or any(passed[n].at_ps == one.asked_ps for n in serves)
        found.append((number, "as its operation began" if begins else "by its own clock: no answer came then"))
        if one.asker == asked_from_outside or not serves:
            return found
        number = serves[-1]


def _open(asked: Passed, at_ps: int) -> bool:
    return asked.at_ps <= at_ps <= asked.finish_ps


def check_request(number: int, passed: Sequence[Passed] | None) -> int:
    """Its place among those of the last `inside`. Raises InputError."""
    if passed is None:
        raise InputError("debugger", "bt", number, "is a request that `inside` has shown; play an operation first")
    if not 1 <= number <= len(passed):
        raise InputError("debugger", "bt", number, f"`inside` has shown requests 1 to {len(passed)}")
    return number - 1

"""A session asked for operations alone: all at once, or, of a component with a clock, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from metronome.hwmodels.interface import Advanced, Completion, Estimates, Operation, Provenance, TimePolicy

from ..errors import ComponentFailure
from ..units import MAX_PS
from .figures import MOST_ENERGY_PJ
from .link import Link, checked, split

KNOWN, WHOLE = frozenset(Provenance), {int}


class Oracle(Protocol):
    """What a port or a surrogate asks; a `Link` is one, if its component has no clock."""

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced: ...


def oracle(link: Link) -> Oracle:
    clocked = link.description.time_policy in (TimePolicy.CONSERVATIVE, TimePolicy.FORWARD_ONLY)
    return OneByOne(link) if clocked else link


class OneByOne:
    """A component with a clock as an oracle: every operation starts when the one before it is done.

    Its clock is not the time of the run. ``send`` hands over the first operation, ``receive`` also the others.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._left: list[Operation] = []
        self._clock_ps = 0

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        completions: list[Completion] = []
        for operation in operations:
            asked = [operation._replace(at_ps=self._clock_ps)]
            completions += self._alone(asked, self._link.advance(MAX_PS, asked, True))
        return Advanced(self._clock_ps, tuple(completions))

    def send(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> None:
        self._left = list(operations)
        self._send_first()

    def receive(self) -> Advanced:
        completions: list[Completion] = []
        while self._left:
            completions += self._alone([self._left.pop(0)], split(self._link).receive())
            if self._left:
                self._send_first()
        return Advanced(self._clock_ps, tuple(completions))

    def _send_first(self) -> None:
        self._left[0] = self._left[0]._replace(at_ps=self._clock_ps)
        split(self._link).send(MAX_PS, self._left[:1], True)

    def _alone(self, asked: Sequence[Operation], answer: Advanced) -> Sequence[Completion]:
        completions = answered(self._link, asked, answer, MAX_PS)
        self._clock_ps = answer.reached_ps
        return completions


def answered(
    link: Link, operations: Sequence[Operation], answer: Advanced, grant_ps: int | None = None
) -> Sequence[Completion]:
    """A completion for each operation; raises ComponentFailure. ``grant_ps`` as in `checked`."""
    checked(link, answer, {operation.op_id: operation for operation in operations}, grant_ps)
    if len(answer.completions) != len(operations):
        given = f"answered {len(answer.completions)} of {len(operations)} operations"
        raise ComponentFailure(link.name, given, "being asked")
    return answer.completions


def answers_of(found: Estimates | None, count: int) -> Estimates | None:
    """A progression's answers, if they are as many and such as can be; what is wrong with others is said when each is
    asked for."""
    if found is None:
        return None
    durations, hows, energies = found
    sound = len(durations) == len(hows) == count and set(hows) <= KNOWN
    if not sound or set(map(type, durations)) != WHOLE or min(durations) < 0:
        return None
    if energies is not None and (len(energies) != count or set(map(type, energies)) != WHOLE):
        return None
    if energies is not None and (min(energies) < 0 or max(energies) > MOST_ENERGY_PJ):
        return None
    return found

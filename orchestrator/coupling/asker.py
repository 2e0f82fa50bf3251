"""Asking a component for operations alone: all at once, or, of one with a clock, one after another."""

from __future__ import annotations

from collections.abc import Sequence

from metronome.hwmodels.interface import Completion, Operation, TimePolicy

from ..errors import ComponentFailure
from ..units import MAX_PS
from .link import Link, checked


class Asker:
    """One session used as an oracle. ``send`` then ``receive``, so that several components can answer at once."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._clocked = link.description.time_policy in (TimePolicy.CONSERVATIVE, TimePolicy.FORWARD_ONLY)
        self._open: list[Operation] = []  # of a component with a clock: still to be asked
        self._clock_ps = 0  # how far a component with a clock has come; not the time of the run

    def send(self, operations: list[Operation]) -> None:
        self._open = operations
        if self._clocked:
            self._send_alone()
        else:
            self._link.send(MAX_PS, operations, False)

    def receive(self) -> Sequence[Completion]:
        """A completion for each; raises ComponentFailure."""
        if not self._clocked:
            return self._all(self._open, None)
        completions: list[Completion] = []
        while self._open:
            completions += self._all([self._open.pop(0)], MAX_PS)
            if self._open:
                self._send_alone()
        return completions

    def _send_alone(self) -> None:
        self._open[0] = self._open[0]._replace(at_ps=self._clock_ps)
        self._link.send(MAX_PS, self._open[:1], True)

    def _all(self, operations: list[Operation], grant_ps: int | None) -> Sequence[Completion]:
        asked = {operation.op_id: operation for operation in operations}
        answer = checked(self._link, self._link.receive(), asked, grant_ps)
        if len(answer.completions) != len(asked):
            given = f"answered {len(answer.completions)} of {len(asked)} operations"
            raise ComponentFailure(self._link.name, given, "being asked")
        self._clock_ps = answer.reached_ps
        return answer.completions

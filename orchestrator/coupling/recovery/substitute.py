"""Another model, in this process, that answers on where a component could not be brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from metronome.hwmodels.interface import Advanced, Description, Operation, Template, Use

from ...errors import InputError
from ..components import ComponentSpec, open_local
from ..link import Link
from .log import CLOCKED


class Substitute:
    """One session of it. It is made and told what it may be asked before time 0, so that it is refused then."""

    def __init__(self, link: Link, model: str) -> None:
        self._link, self.model = link, model
        self.answers = False  # whether it is its turn
        self._owed: list[Operation] = []

    @classmethod
    def of(cls, spec: ComponentSpec, description: Description) -> Self | None:
        """That of a component whose options name one. Raises InputError for one that has no clock where the component
        has one, or the other way round: they are asked in other ways."""
        if spec.substitute is None:
            return None
        found = open_local(spec.substitute)
        if (found.description.time_policy in CLOCKED) != (description.time_policy in CLOCKED):
            policy, wanted = found.description.time_policy, description.time_policy
            where = f"components.{spec.name}.on_failure.fallback"
            why = f"is a model of time policy {policy}; in the place of {wanted} it cannot answer"
            raise InputError("scenario", where, spec.substitute.model, why)
        return cls(found, spec.substitute.model)

    def declare(self, templates: Sequence[Template]) -> None:
        self._link.declare(templates)

    def take_over(self, owed: Sequence[Operation], now_ps: int) -> None:
        """From now on it answers; operations that are owed begin anew."""
        self.answers = True
        self._owed = [operation._replace(at_ps=max(now_ps, operation.at_ps)) for operation in owed]

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        owed, self._owed = self._owed, []
        return self._link.advance(grant_ps, [*owed, *operations], stop_at_first)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        return self._link.statistics(uses)

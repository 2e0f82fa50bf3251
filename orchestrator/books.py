"""What a run has spent so far: rows of steps, and what has become of those of seconds that are over."""

from __future__ import annotations

from collections.abc import Sequence

from .coupling.executor import Executor
from .coupling.spent import Spent
from .placement import UnitPlan
from .power import past
from .power.groups import Group
from .power.past import Past
from .scenario.schema import Scenario
from .serving.loop import StepLoop


class Books:
    """``groups`` of devices that step together, and ``past``: up to when the books are closed, and what is in them.
    ``open``: they are not closed on the way, for whoever wants all rows."""

    def __init__(self, scenario: Scenario, units: Sequence[UnitPlan], spent: Spent) -> None:
        self._scenario, self._spent = scenario, spent
        self.groups = [Group(unit.name, unit.options.name, unit.layout.homes) for unit in units]
        self.past, self.open = Past(), False

    def close(self, now_ps: int, loops: Sequence[StepLoop], executors: Sequence[Executor]) -> None:
        """Up to where no step can come any more, if there are very many rows; then these are forgotten."""
        if self.open or self._spent.rows <= past.MOST_ROWS:
            return
        self.past = self._closed(now_ps, loops, executors)
        for of, rows in self.past.taken.items():
            self._spent.of[of].forget(rows)

    def settled(self, now_ps: int, loops: Sequence[StepLoop], executors: Sequence[Executor]) -> Past:
        """``past`` as of now: the same however often the books were closed on the way."""
        return self.past if self._spent.ever <= past.MOST_ROWS else self._closed(now_ps, loops, executors)

    def _closed(self, now_ps: int, loops: Sequence[StepLoop], executors: Sequence[Executor]) -> Past:
        begun = [time for executor in executors for time in executor.began_ps.values()]
        begun += [loop.leapt_ps for loop in loops if loop.leapt_ps is not None]
        return self.past.closed(self._scenario, self.groups, self._spent, min([now_ps, *begun]))

"""Failures of the simulated cluster, as events: at the scenario's times, or drawn from a stream of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...kernel.loop import Kernel
from ...kernel.queue import Priority
from ...units import PS_PER_S
from .fleet import Fleet, Member
from .options import Failure


@dataclass(frozen=True, slots=True)
class Failing:
    """One thing that fails: ``members`` lose it, or a component is slow while it lasts. ``number`` is its place among
    the failures of the scenario."""

    number: int
    options: Failure
    members: Sequence[Member]
    random: np.random.Generator


class Failures:
    """Makes them happen. ``slow`` is told who is slow: a failure's number, times as long (1: as ever)."""

    def __init__(
        self, kernel: Kernel, fleet: Fleet, failing: Sequence[Failing], slow: Callable[[int, float], None]
    ) -> None:
        self._kernel, self._fleet, self._failing, self._slow = kernel, fleet, failing, slow
        self._lasting: Counter[int] = Counter()  # slownesses that have begun and not ended, by failure

    def start(self) -> None:
        """Everything that is known at time 0."""
        for one in self._failing:
            for time in one.options.times_s:
                self._expect(one, round(time * PS_PER_S))
            self._draw(one)

    def _draw(self, one: Failing) -> None:
        mean = one.options.mtbf_s
        if mean is not None:
            self._expect(one, self._kernel.now_ps + max(1, round(float(one.random.exponential(mean)) * PS_PER_S)))

    def _expect(self, one: Failing, due: int) -> None:
        self._kernel.in_background(due, Priority.ARRIVAL, 0, "failure", one.number, partial(self._fail, one))

    def _fail(self, one: Failing) -> None:
        if one.options.component is not None:
            self._lasting[one.number] += 1
            self._slow(one.number, one.options.times)
        for member in one.members:
            self._fleet.fail(member)
        due = self._kernel.now_ps + round(one.options.repair_s * PS_PER_S)
        self._kernel.in_background(due, Priority.ARRIVAL, 0, "repair", one.number, partial(self._repair, one))

    def _repair(self, one: Failing) -> None:
        if one.options.component is not None:
            self._lasting[one.number] -= 1
            if not self._lasting[one.number]:
                self._slow(one.number, 1)
        for member in one.members:
            self._fleet.repair(member)
        self._draw(one)

"""What steps that are certain take, all at once (`metronome.orchestrator.serving.leap`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from operator import add, sub
from typing import NamedTuple

from metronome.hwmodels.interface import in_progression

from ..serving.batch import Batch
from .costs import Cost
from .program import Portion
from .spent import WORKING, Spent
from .uses import Values


def now(portion: Portion, values: Values) -> Cost:
    """What its operations cost with these numbers, which are known."""
    cost, slowdown = portion.operations.known[values], portion.port.slowdown
    return cost if slowdown == 1 else cost.slower(slowdown)


class Row(NamedTuple):
    """Of a portion its numbers in each step, and what each costs where that is known already; one of all steps."""

    portion: Portion
    values: list[Values]
    costs: list[Cost]

    def missing(self) -> Iterator[tuple[Portion, Values]]:
        """What is to be asked."""
        if not self.costs:
            known = self.portion.operations.known
            yield from ((self.portion, values) for values in self.values if values not in known)


def row_of(portion: Portion, first: Batch, count: int) -> Row:
    """Of ``first`` and the steps after it, ``count`` in all; nothing where there is nothing to do."""
    operands = portion.operands
    numbers = operands.of(first)
    if not any(numbers):
        return Row(portion, [], [])
    if count == 1 or operands.steady:
        return Row(portion, [numbers], [])
    if (growth := operands.growth(first)) is None:
        return Row(portion, [numbers, *(operands.of(first.later(step)) for step in range(1, count))], [])
    known = portion.port.progression(portion.operations, numbers, growth, count)
    return Row(portion, in_progression(numbers, growth, count), known or [])


class StepCosts:
    """What consecutive steps take, as `metronome.orchestrator.serving.leap.StepCosts`: of every stretch of a step its
    members, of every member the rows of its portions. Nothing is done beside anything else: there are no prompts.
    """

    def __init__(self, stretches: Sequence[Sequence[Sequence[Row]]], count: int, name: str, spent: Spent) -> None:
        self._name, self._spent, self.events = name, spent, len(stretches)
        self._rows: list[Row] = []
        self.durations_ps = [0] * count
        self._spent_pj: dict[str, list[int]] = {}  # by component
        for members in stretches:
            each = [self._in_turn(rows, count) for rows in members]
            _add(self.durations_ps, each[0] if len(each) == 1 else list(map(max, *each)))
        self._spent_pj = {name: pj for name, pj in self._spent_pj.items() if name.endswith(WORKING) or any(pj)}
        self.energies_pj = [sum(each) for each in zip(*self._spent_pj.values(), strict=True)] or [0] * count

    def _in_turn(self, rows: Sequence[Row], count: int) -> list[int]:
        """How long one member is at its portions in each step; what these take of energy is counted."""
        took = [0] * count
        for portion, values, known in rows:
            if not values:
                continue
            costs = known or [now(portion, one) for one in values]
            self._rows.append(Row(portion, values, costs))
            _add(took, [cost.duration_ps for cost in costs])
            energies = self._spent_pj.setdefault(portion.port.name, [0] * count)
            _add(energies, [cost.energy_pj for cost in costs])
        return took

    def use(self, first: int, ends_ps: Sequence[int]) -> None:
        last = first + len(ends_ps)
        for portion, values, costs in self._rows:
            if len(values) == 1:
                portion.tally.add(values[0], costs[0], len(ends_ps))
            else:
                portion.tally.add_each(values[first:last], costs[first:last])
        for component, energies in self._spent_pj.items():
            begins_ps = map(sub, ends_ps, self.durations_ps[first:last])
            self._spent.entries(component, self._name).extend(begins_ps, ends_ps, energies[first:last])


def _add(to: list[int], steps: Sequence[int]) -> None:
    """One number is of all steps."""
    more = repeat(steps[0], len(to)) if len(steps) == 1 else steps
    to[:] = map(add, to, more)

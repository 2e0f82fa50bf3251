"""What sets of operations cost, and how often an instance has needed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metronome.hwmodels.interface import Completion, Provenance

from ..lowering.work import Work
from .uses import Uses, Values

RECENT = 4_096  # different numbers of a set of operations that an instance has counted one by one


@dataclass(frozen=True, slots=True, eq=False)
class OperationSet:
    """Operations that are always asked together: on one component, one after another, with the same numbers.

    ``works`` are those of whoever named them first: instances with equal templates and copies share a set.
    ``repeats[i]``: how often the i-th is done in a row. ``known``: what the set costs, by its numbers.
    """

    works: tuple[Work, ...]
    repeats: Values
    known: dict[Values, Cost] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, Any]) -> OperationSet:
        copied = memo[id(self)] = OperationSet(self.works, self.repeats, self.known.copy())
        return copied


class Cost(NamedTuple):
    """What a set of operations costs at given numbers.

    ``energy_pj`` is what is known of it; ``energy_known`` says whether that is all. ``answers`` and
    ``spent_ps`` say how many of its figures come from where, and how much of the time; ``parts_ps`` what each of the
    operations takes, all its repeats together.
    """

    duration_ps: int
    energy_pj: int
    energy_known: bool
    answers: dict[Provenance, int]
    spent_ps: dict[Provenance, int]
    parts_ps: tuple[int, ...] = ()

    def slower(self, times: float) -> Cost:
        """The same of a component that takes so many times as long."""
        parts = tuple(round(part * times) for part in self.parts_ps)
        return self._replace(duration_ps=sum(parts), parts_ps=parts)

    def lasting(self, duration_ps: int) -> Cost:
        """A part of it, of that length, as instruments are told of it: what of which operation is not known."""
        return self._replace(duration_ps=duration_ps, parts_ps=())


_ONE = {provenance: {provenance: 1} for provenance in Provenance}


def cost_of(done: Completion, work: Work, repeat: int) -> Cost:
    """Of one operation, done so often in a row."""
    took = (done.finish_ps - done.start_ps) * repeat
    how, energy = done.provenance, done.energy_pj
    spent = energy * repeat * work.copies if energy is not None else 0
    return Cost(took, spent, energy is not None, _ONE[how], {how: took}, (took,))


def in_turn(costs: Sequence[Cost]) -> Cost:
    """Of operations one after another."""
    answers, spent = Counter[Provenance](), Counter[Provenance]()
    for cost in costs:
        answers.update(cost.answers)
        spent.update(cost.spent_ps)
    return Cost(
        sum(cost.duration_ps for cost in costs),
        sum(cost.energy_pj for cost in costs),
        all(cost.energy_known for cost in costs),
        dict(answers),
        dict(spent),
        tuple(cost.duration_ps for cost in costs),
    )


class Usage:
    """Counts of one component over a run, for the report."""

    def __init__(self) -> None:
        self.calls = 0  # operations needed, a repeated layer counted once
        self.cached = 0  # of these, answered from memory
        self.provenance: Counter[Provenance] = Counter()
        self.spent_ps: Counter[Provenance] = Counter()  # of the time of all steps
        self.energy_known = True

    def add(self, cost: Cost, uses: int) -> None:
        operations = sum(cost.answers.values())
        self.energy_known &= cost.energy_known
        self.calls += operations * uses
        self.cached += operations * (uses - 1)
        for provenance, answers in cost.answers.items():
            self.provenance[provenance] += answers * uses
            self.spent_ps[provenance] += cost.spent_ps[provenance] * uses

    def merge(self, other: Usage) -> None:
        self.energy_known &= other.energy_known
        self.calls += other.calls
        self.cached += other.cached
        self.provenance.update(other.provenance)
        self.spent_ps.update(other.spent_ps)


class Tally:
    """What one instance has needed of a set of operations: counts, in ``usage``.

    Counted for each instance, so that the figures do not depend on whose steps come first. ``uses``, if given, has
    every use by its numbers.
    """

    __slots__ = ("_used", "_uses", "operations", "usage")

    def __init__(self, operations: OperationSet, uses: Uses | None) -> None:
        self.operations, self.usage = operations, Usage()
        self._used: dict[Values, tuple[int, Cost]] = {}
        self._uses = uses

    def __deepcopy__(self, memo: dict[int, Any]) -> Tally:
        copied = memo[id(self)] = Tally(deepcopy(self.operations, memo), deepcopy(self._uses, memo))
        copied.usage, copied._used = deepcopy(self.usage, memo), self._used.copy()
        return copied

    def add(self, values: Values, cost: Cost, times: int = 1) -> None:
        """It was needed so often at these numbers, and cost that each time."""
        used = self._used.get(values)
        if used is None:
            if len(self._used) == RECENT:
                self.settle()
            self._used[values] = times, cost
        elif used[1] is cost or used[1] == cost:
            self._used[values] = used[0] + times, cost
        else:  # the component has been slowed down, or replaced, since
            self.settle()
            self._used[values] = times, cost

    def add_each(self, steps: Sequence[tuple[Values, Cost]]) -> None:
        """As `add`, of steps one after another."""
        used = self._used
        for values, cost in steps:
            if values in used or len(used) == RECENT:
                self.add(values, cost)
            else:
                used[values] = 1, cost

    def settle(self) -> None:
        """Count what has been written down."""
        for values, (times, cost) in self._used.items():
            self.usage.add(cost, times)
            if self._uses is not None:
                for work, repeat in zip(self.operations.works, self.operations.repeats, strict=True):
                    self._uses.add(work.template, values, times * repeat)
        self._used.clear()

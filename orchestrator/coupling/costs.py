"""What sets of operations cost, and how often an instance has needed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from metronome.hwmodels.interface import Completion, Estimates, Provenance

from ..lowering.work import Work
from .uses import Uses, Values

RECENT = 4_096  # different numbers of a set of operations that an instance has not yet added up


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

    ``energy_pj`` is what is known of it; ``energy_known`` says whether that is all. ``parts_ps`` is what each of the
    operations takes, all its repeats together; ``said_ps`` the same as its component said it, and ``hows`` from where.
    There are very many of them: what is equal is one object.
    """

    duration_ps: int
    energy_pj: int
    energy_known: bool
    hows: tuple[Provenance, ...] = ()
    said_ps: tuple[int, ...] = ()
    parts_ps: tuple[int, ...] = ()

    def slower(self, times: float) -> Cost:
        """The same of a component that takes so many times as long."""
        parts = tuple(round(part * times) for part in self.parts_ps)
        return self._replace(duration_ps=sum(parts), parts_ps=parts)

    def lasting(self, duration_ps: int) -> Cost:
        """A part of it, of that length, as instruments are told of it: what of which operation is not known."""
        return self._replace(duration_ps=duration_ps, parts_ps=())


_ONE = {provenance: (provenance,) for provenance in Provenance}
_ALIKE: dict[tuple[Provenance, ...], tuple[Provenance, ...]] = {}


def cost_of(done: Completion, work: Work, repeat: int) -> Cost:
    """Of one operation, done so often in a row."""
    took = (done.finish_ps - done.start_ps) * repeat
    how, energy = done.provenance, done.energy_pj
    spent = energy * repeat * work.copies if energy is not None else 0
    parts = (took,)
    return Cost(took, spent, energy is not None, _ONE[how], parts, parts)


def costs_of(estimates: Estimates, work: Work, repeat: int) -> list[Cost]:
    """`cost_of` of several."""
    durations, provenances, energies = estimates
    hows, parts = map(_ONE.__getitem__, provenances), [(duration * repeat,) for duration in durations]
    if energies is None:
        return [Cost(part[0], 0, False, how, part, part) for part, how in zip(parts, hows, strict=True)]
    copies = repeat * work.copies
    each = zip(parts, energies, hows, strict=True)
    return [Cost(part[0], energy * copies, True, how, part, part) for part, energy, how in each]


def in_turn(costs: Sequence[Cost]) -> Cost:
    """Of operations one after another."""
    hows = tuple(how for cost in costs for how in cost.hows)
    parts = tuple(cost.duration_ps for cost in costs)
    return Cost(
        sum(parts),
        sum(cost.energy_pj for cost in costs),
        all(cost.energy_known for cost in costs),
        _ALIKE.setdefault(hows, hows),
        parts,
        parts,
    )


class Usage:
    """Counts of one component over a run, for the report."""

    def __init__(self) -> None:
        self.calls = 0  # operations needed, a repeated layer counted once
        self.cached = 0  # of these, answered from memory
        self.provenance: Counter[Provenance] = Counter()
        self.spent_ps: Counter[Provenance] = Counter()  # of the time of all steps
        self.energy_known = True

    def add(self, uses: Iterable[tuple[int, Cost]]) -> None:
        """Each of these costs so often. Here no function is called for each: there may be several a step."""
        answers, spent = self.provenance, self.spent_ps
        for times, (_, _, known, hows, said, _) in uses:
            self.energy_known &= known
            place = 0
            for how in hows:
                answers[how] += times
                spent[how] += said[place] * times
                place += 1
            self.calls += place * times
            self.cached += place * (times - 1)

    def add_one(self, how: Provenance, took_ps: int, energy_known: bool) -> None:
        """An operation that was simulated."""
        self.energy_known &= energy_known
        self.calls += 1
        self.provenance[how] += 1
        self.spent_ps[how] += took_ps

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

    def add_each(self, numbers: Sequence[Values], costs: Sequence[Cost]) -> None:
        """As `add`, of steps one after another."""
        used = self._used
        for values, cost in zip(numbers, costs, strict=True):
            if values in used or len(used) == RECENT:
                self.add(values, cost)
            else:
                used[values] = 1, cost

    def settle(self) -> None:
        """Count what has been written down."""
        self.usage.add(self._used.values())
        if self._uses is not None:
            templates = [work.template for work in self.operations.works]
            of_each = list(zip(templates, self.operations.repeats, strict=True))
            self._uses.add(of_each, [(values, times) for values, (times, _) in self._used.items()])
        self._used.clear()

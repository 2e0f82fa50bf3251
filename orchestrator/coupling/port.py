"""Ports: the orchestrator's end of a component.

An :class:`AskedPort` treats it as an oracle: its answer for an operation alone is exact, so equal
questions are asked once. A :class:`SteppedPort` shares the clock with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple

from metronome.hwmodels.interface import Completion, Operation, Provenance, Use

from ..errors import ComponentFailure
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..lowering.work import Work
from ..units import MAX_PS
from .conduct import Conduct
from .link import Link, SplitLink, split
from .oracle import OneByOne, answered, oracle
from .spent import Spent
from .uses import Uses, Values, uses_of

CACHE_ENTRIES = 200_000  # answers a port keeps; then its memory is emptied and filled anew
RECENT = 4_096  # different numbers of a set of operations that an instance has counted one by one


def layers(works: Sequence[Work]) -> str:
    """What operations that follow one another are called by: the first's layer, and how many more."""
    return works[0].template.layer + (f" and {len(works) - 1} more" if len(works) > 1 else "")


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


Asked = tuple[OperationSet, Values]


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


class AskedPort:
    """A component asked as an oracle, with a memory of its answers."""

    asked = True

    def __init__(self, link: Link) -> None:
        self.link, self.name = link, link.name
        self.slowdown = 1.0  # times as long as the component says
        self._tallies: list[Tally] = []
        self._known = 0  # answers in memory
        self._uses = uses_of(link.description.features)  # None: nobody asks for them
        self._sets: dict[tuple[tuple[int, int, int], ...], OperationSet] = {}
        self._oracle = oracle(link)
        self._sent: tuple[Sequence[Asked], list[Operation]] = ((), [])

    @property
    def elsewhere(self) -> bool:
        """Whether it answers a round trip away, while others are asked: then it is asked first, and ahead."""
        return self.link.remote

    def together(self, works: Sequence[Work], repeats: Sequence[int]) -> OperationSet:
        """The set of these operations; equal templates, repeats and copies give the same one."""
        key = tuple((work.template.id, repeat, work.copies) for work, repeat in zip(works, repeats, strict=True))
        return self._sets.setdefault(key, OperationSet(tuple(works), tuple(repeats)))

    def tally(self, works: Sequence[Work], repeats: Sequence[int]) -> Tally:
        """For an instance that will need these operations."""
        tally = Tally(self.together(works, repeats), self._uses)
        self._tallies.append(tally)
        return tally

    def ask(self, wanted: Sequence[Asked]) -> None:
        """Ask what memory lacks, and remember the answers. Raises ComponentFailure."""
        operations = _operations(wanted)
        self._remember(wanted, answered(self.link, operations, self._oracle.advance(MAX_PS, operations, False)))

    def send(self, wanted: Sequence[Asked]) -> None:
        """An `ask` whose answers `receive` remembers; only of a component that answers elsewhere."""
        self._sent = wanted, _operations(wanted)
        self._split.send(MAX_PS, self._sent[1], False)

    def receive(self) -> None:
        wanted, operations = self._sent
        self._remember(wanted, answered(self.link, operations, self._split.receive()))

    @property
    def _split(self) -> OneByOne | SplitLink:
        return self._oracle if isinstance(self._oracle, OneByOne) else split(self.link)

    def _remember(self, wanted: Sequence[Asked], completions: Sequence[Completion]) -> None:
        self._known += len(wanted)
        if len(completions) > 1:
            completions = sorted(completions, key=_op_id)
        answer = iter(completions)
        for operations, values in wanted:
            works, repeats = operations.works, operations.repeats
            try:
                costs = [_cost(next(answer), work, repeat) for work, repeat in zip(works, repeats, strict=True)]
            except KeyError as error:
                allowed = f"one of {', '.join(Provenance)}"
                raise ComponentFailure(
                    self.name, f"says its answer is {error}: must be {allowed}", "being asked"
                ) from None
            cost = costs[0] if len(costs) == 1 else _sum(costs)
            if cost.duration_ps > MAX_PS:
                what = f"says {layers(works)} takes {cost.duration_ps} ps: time ends after 2^63-1 ps (106 days)"
                raise ComponentFailure(self.name, what, "being asked")
            operations.known.setdefault(values, cost)

    def _settle(self) -> None:
        for tally in self._tallies:
            tally.settle()

    def trim(self) -> None:
        """Empty a memory that is full. Nothing but time depends on when."""
        if self._known > CACHE_ENTRIES:
            self._forget()

    def _forget(self) -> None:
        for operations in self._sets.values():
            operations.known.clear()
        self._known = 0

    def uses(self) -> list[Use]:
        """Every operation needed so far, and how often."""
        self._settle()
        return [] if self._uses is None else self._uses.all()

    def relink(self, link: Link) -> None:
        """From now on another session answers; what the one before has said is counted, and forgotten."""
        self._settle()
        self._forget()
        if self._uses is not None:
            self._uses.clear()
        self.link, self._oracle = link, oracle(link)

    def usage(self) -> Usage:
        """Counts so far. What was asked ahead but never needed does not count."""
        self._settle()
        total = Usage()
        for tally in self._tallies:
            total.merge(tally.usage)
        return total


_op_id = attrgetter("op_id")
_ONE = {provenance: {provenance: 1} for provenance in Provenance}


def _cost(done: Completion, work: Work, repeat: int) -> Cost:
    """Of one operation, done so often in a row."""
    took = (done.finish_ps - done.start_ps) * repeat
    how, energy = done.provenance, done.energy_pj
    spent = energy * repeat * work.copies if energy is not None else 0
    return Cost(took, spent, energy is not None, _ONE[how], {how: took}, (took,))


def _sum(costs: Sequence[Cost]) -> Cost:
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


def _operations(wanted: Sequence[Asked]) -> list[Operation]:
    """For the component; ids count from 0."""
    ids = count()
    return [
        Operation(work.template.id, values, next(ids)) for operations, values in wanted for work in operations.works
    ]


@dataclass(slots=True)
class _Waiting:
    operation: Operation
    work: Work
    done: Callable[[int], None]
    cause: int  # the event that handed it over
    subject: object  # what goes on with its end, if that is a step


class SteppedPort:
    """A component that shares the clock, because several users can reach it or because it remembers."""

    asked = False

    def __init__(self, link: Link, kernel: Kernel, rank: int, spent: Spent) -> None:
        self.link, self._kernel, self._rank = link, kernel, rank
        self._spent = spent.entries(link.name)
        self._usage = Usage()
        self._next_id = 0
        self._unsent: list[Operation] = []
        self._open: dict[int, _Waiting] = {}
        self._next_ps: int | None = None
        self._conduct = Conduct(link)
        kernel.attach(self)

    def submit(self, work: Work, values: Values, done: Callable[[int], None], subject: object = None) -> None:
        """Hand over one operation at the present time; ``done(energy_pj)`` is called at its end, which is an event
        about ``subject``."""
        operation = Operation(work.template.id, values, self._next_id, self._kernel.now_ps, self._kernel.microstep)
        self._next_id += 1
        self._unsent.append(operation)
        self._open[operation.op_id] = _Waiting(operation, work, done, self._kernel.events, subject)

    def relink(self, link: Link) -> None:
        """From now on another session answers; the one before must owe nothing."""
        if self._open:
            raise AssertionError("it has operations that are not completed")
        self.link, self._conduct, self._next_ps = link, Conduct(link), None

    @property
    def bound_ps(self) -> int | None:
        return self._unsent[0].at_ps if self._unsent else self._next_ps

    def step(self, grant_ps: int) -> None:
        operations, self._unsent = self._unsent, []
        self._conduct.sent(grant_ps, operations)
        answer = self.link.advance(grant_ps, operations, True)
        self._conduct.check(answer)
        self._next_ps = answer.next_event_ps
        for done in sorted(answer.completions, key=lambda c: (c.finish_ps, c.op_id)):
            waiting = self._open.pop(done.op_id)
            energy = (done.energy_pj or 0) * waiting.work.copies
            self._usage.add(self._cost(done, energy), 1)
            self._spent.gather(done.start_ps, done.finish_ps, energy)
            self._kernel.at(
                done.finish_ps,
                Priority.COMPLETION,
                self._rank,
                waiting.work.template.kind,
                done.op_id,
                partial(waiting.done, energy),
                waiting.cause,
                waiting.subject,
            )

    @staticmethod
    def _cost(done: Completion, energy_pj: int) -> Cost:
        took = done.finish_ps - done.start_ps
        known = done.energy_pj is not None
        return Cost(took, energy_pj, known, {done.provenance: 1}, {done.provenance: took})

    def open_operations(self) -> list[dict[str, Any]]:
        return [
            {
                "op": op,
                "kind": w.work.template.kind,
                "layer": w.work.template.layer,
                "values": list(w.operation.values),
                "since_ps": w.operation.at_ps,
                "cause": w.cause,
            }
            for op, w in self._open.items()
        ]

    def waiters(self) -> list[tuple[Operation, object]]:
        """Operations not completed, and what goes on with their end."""
        return [(waiting.operation, waiting.subject) for waiting in self._open.values()]

    def waiting_for(self) -> str:
        if not self._open:
            return ""
        ids = ", ".join(str(op) for op in list(self._open)[:5])
        return f"component {self.link.name} has not completed operation {ids} and promises nothing"

    def usage(self) -> Usage:
        return self._usage

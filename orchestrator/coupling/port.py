"""Ports: the orchestrator's end of a component.

An :class:`AskedPort` treats it as an oracle: its answer for an operation alone is exact, so equal
questions are asked once. A :class:`SteppedPort` shares the clock with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from metronome.hwmodels.interface import Completion, Feature, Operation, Provenance, Template, Use

from ..errors import ComponentFailure
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from .asker import Asker
from .link import Link, checked

CACHE_ENTRIES = 200_000  # answers kept; then the memory is emptied and filled anew


class Item(NamedTuple):
    """A template used ``repeat`` times one after another, by ``copies`` devices at once."""

    template: Template
    repeat: int
    copies: int

    def __deepcopy__(self, memo: dict[int, Any]) -> Item:
        return self


def layers(items: Sequence[Item]) -> str:
    """What operations that follow one another are called by: the first's layer, and how many more."""
    return items[0].template.layer + (f" and {len(items) - 1} more" if len(items) > 1 else "")


@dataclass(frozen=True, slots=True, eq=False)
class OperationSet:
    """Operations that always follow one another on one component with the same numbers.

    ``known`` is the memory of what they cost, by those numbers; ``uses`` how often that was needed.
    """

    id: int
    items: tuple[Item, ...]
    known: dict[tuple[int, ...], Cost] = field(default_factory=dict)
    uses: dict[tuple[int, ...], int] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, Any]) -> OperationSet:
        copied = memo[id(self)] = OperationSet(self.id, self.items, self.known.copy(), self.uses.copy())
        return copied


@dataclass(frozen=True, slots=True)
class Cost:
    """What a set of operations costs at given numbers.

    ``energy_pj`` is what is known of it; ``energy_known`` says whether that is all. ``answers`` and
    ``spent_ps`` say how many of its figures come from where, and how much of the time.
    """

    duration_ps: int
    energy_pj: int
    energy_known: bool
    answers: dict[Provenance, int]
    spent_ps: dict[Provenance, int]


class Question(NamedTuple):
    operations: OperationSet
    values: tuple[int, ...]


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


class AskedPort:
    """A component asked as an oracle, with a memory of its answers."""

    asked = True

    def __init__(self, link: Link) -> None:
        self.link = link
        self._usage = Usage()
        self._distinct = 0  # answers in memory that were needed
        self._accounts = Feature.ACCOUNTS in link.description.features  # else nobody asks for its uses
        self._uses: dict[tuple[int, tuple[int, ...]], int] = {}
        self._sets: dict[tuple[tuple[int, int, int], ...], OperationSet] = {}
        self._sent: list[Question] = []
        self._asker = Asker(link)

    def together(self, items: tuple[Item, ...]) -> OperationSet:
        """The set of these items; equal items give the same set, so instances share answers."""
        key = tuple((item.template.id, item.repeat, item.copies) for item in items)
        return self._sets.setdefault(key, OperationSet(len(self._sets), items))

    def send(self, questions: list[Question]) -> None:
        """Ask what memory lacks; :meth:`receive` puts the answers there."""
        self._sent = questions
        ids = count()
        self._asker.send(
            [
                Operation(item.template.id, question.values, next(ids))
                for question in questions
                for item in question.operations.items
            ]
        )

    def receive(self) -> None:
        completions = self._asker.receive()
        done = {completion.op_id: completion for completion in completions}
        op_id = 0
        for question in self._sent:
            duration, energy, known = 0, 0, True
            answers: dict[Provenance, int] = {}
            spent: dict[Provenance, int] = {}
            for _, repeat, copies in question.operations.items:
                completion = done[op_id]
                op_id += 1
                took = (completion.finish_ps - completion.start_ps) * repeat
                duration += took
                if completion.energy_pj is None:
                    known = False
                else:
                    energy += completion.energy_pj * repeat * copies
                how = completion.provenance
                answers[how] = answers.get(how, 0) + 1
                spent[how] = spent.get(how, 0) + took
            question.operations.known.setdefault(question.values, Cost(duration, energy, known, answers, spent))

    def use(self, operations: OperationSet, values: tuple[int, ...], cost: Cost, times: int = 1) -> None:
        """Count uses of an answer. Memory is emptied by what was needed, not by what was asked ahead, so that the
        counts are the same wherever the component runs."""
        before = operations.uses.get(values, 0)
        if not before:
            self._distinct += 1
            operations.known.setdefault(values, cost)  # may just have been forgotten
        operations.uses[values] = before + times
        if self._distinct > CACHE_ENTRIES:
            self._forget()

    def _forget(self) -> None:
        for operations in self._sets.values():
            for values, times in operations.uses.items():
                self._usage.add(operations.known[values], times)
                if self._accounts:
                    for item in operations.items:
                        key = (item.template.id, values)
                        self._uses[key] = self._uses.get(key, 0) + times * item.repeat
            operations.known.clear()
            operations.uses.clear()
        self._distinct = 0

    def uses(self) -> list[Use]:
        """Every operation needed so far, and how often."""
        self._forget()
        return [Use(template, values, times) for (template, values), times in sorted(self._uses.items())]

    def usage(self) -> Usage:
        """Counts so far. What was asked ahead but never needed does not count."""
        self._forget()
        return self._usage


@dataclass(slots=True)
class _Waiting:
    operation: Operation
    item: Item
    done: Callable[[int], None]
    cause: int  # the event that handed it over


class SteppedPort:
    """A component that shares the clock, because several users can reach it or because it remembers."""

    asked = False

    def __init__(self, link: Link, kernel: Kernel, rank: int) -> None:
        self.link, self._kernel, self._rank = link, kernel, rank
        self._usage = Usage()
        self._next_id = 0
        self._unsent: list[Operation] = []
        self._open: dict[int, _Waiting] = {}
        self._next_ps: int | None = None
        kernel.attach(self)

    def submit(self, item: Item, values: tuple[int, ...], done: Callable[[int], None]) -> None:
        """Hand over one operation at the present time; ``done(energy_pj)`` is called at its end."""
        operation = Operation(item.template.id, values, self._next_id, self._kernel.now_ps, self._kernel.microstep)
        self._next_id += 1
        self._unsent.append(operation)
        self._open[operation.op_id] = _Waiting(operation, item, done, self._kernel.events)

    @property
    def bound_ps(self) -> int | None:
        return self._unsent[0].at_ps if self._unsent else self._next_ps

    def step(self, grant_ps: int) -> None:
        operations, self._unsent = self._unsent, []
        promised = self._next_ps
        self.link.send(grant_ps, operations, True)
        answer = checked(self.link, self.link.receive(), self._open, grant_ps)
        self._next_ps = answer.next_event_ps
        if not answer.completions:
            self._check_progress(promised, grant_ps, operations)
        for done in sorted(answer.completions, key=lambda c: (c.finish_ps, c.op_id)):
            waiting = self._open.pop(done.op_id)
            energy = (done.energy_pj or 0) * waiting.item.copies
            self._usage.add(self._cost(done, energy), 1)
            self._kernel.at(
                done.finish_ps,
                Priority.COMPLETION,
                self._rank,
                waiting.item.template.kind,
                done.op_id,
                partial(waiting.done, energy),
                waiting.cause,
            )

    @staticmethod
    def _cost(done: Completion, energy_pj: int) -> Cost:
        took = done.finish_ps - done.start_ps
        known = done.energy_pj is not None
        return Cost(took, energy_pj, known, {done.provenance: 1}, {done.provenance: took})

    def _check_progress(self, promised: int | None, grant_ps: int, operations: list[Operation]) -> None:
        """A promise not kept would be asked for ever."""
        if not operations and promised is not None and grant_ps >= promised and self._next_ps == promised:
            raise ComponentFailure(
                self.link.name, f"promised to act at {promised} ps and did not", f"advancing to {grant_ps} ps"
            )

    def open_operations(self) -> list[dict[str, Any]]:
        return [
            {
                "op": op,
                "kind": w.item.template.kind,
                "layer": w.item.template.layer,
                "values": list(w.operation.values),
                "since_ps": w.operation.at_ps,
                "cause": w.cause,
            }
            for op, w in self._open.items()
        ]

    def waiters(self) -> list[tuple[Operation, Callable[[int], None]]]:
        """Operations not completed, and who is to be told of their end."""
        return [(waiting.operation, waiting.done) for waiting in self._open.values()]

    def waiting_for(self) -> str:
        if not self._open:
            return ""
        ids = ", ".join(str(op) for op in list(self._open)[:5])
        return f"component {self.link.name} has not completed operation {ids} and promises nothing"

    def usage(self) -> Usage:
        return self._usage

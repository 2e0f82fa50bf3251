"""Ports: the orchestrator's end of a component.

An :class:`AskedPort` treats it as an oracle: its answer for an operation alone is exact, so equal
questions are asked once. A :class:`SteppedPort` shares the clock with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from operator import attrgetter
from typing import Any

from metronome.hwmodels.interface import Completion, Operation, Provenance, Use

from ..errors import ComponentFailure
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..lowering.work import Work
from ..units import MAX_PS
from .conduct import Conduct
from .costs import Cost, OperationSet, Tally, Usage, cost_of, costs_of, in_turn
from .link import Link, LocalLink, SplitLink, split
from .oracle import OneByOne, answered, answers_of, oracle
from .spent import Spent
from .uses import Counted, Values, uses_of

CACHE_ENTRIES = 100_000  # answers the ports of a run keep; then their memory is emptied and filled anew


def layers(works: Sequence[Work]) -> str:
    """What operations that follow one another are called by: the first's layer, and how many more."""
    return works[0].template.layer + (f" and {len(works) - 1} more" if len(works) > 1 else "")


Asked = tuple[OperationSet, Values]


class Memory:
    """Of all answers to the ports of a run: how many there are, and whose."""

    def __init__(self) -> None:
        self.known = 0
        self.ports: list[AskedPort] = []

    def trim(self) -> None:
        """Empty it if it is full. Nothing but time depends on when."""
        if self.known > CACHE_ENTRIES:
            for port in self.ports:
                port.forget()


class AskedPort:
    """A component asked as an oracle, with a part in a memory of answers."""

    asked = True

    def __init__(self, link: Link, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self.memory.ports.append(self)
        self.link, self.name = link, link.name
        self.slowdown = 1.0  # times as long as the component says
        self.slows = False  # whether that changes in the run
        self._tallies: list[Tally] = []
        self._known = 0  # answers in memory
        self._uses = uses_of(link.description.features)  # None: nobody asks for them
        self._sets: dict[tuple[tuple[int, int, int], ...], OperationSet] = {}
        self._oracle = oracle(link)
        self._elsewhere = Usage()  # what was needed of it in other parts of the run
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

    def progression(self, operations: OperationSet, first: Values, more: Values, count: int) -> list[Cost] | None:
        """What they cost at so many sets of numbers, of which each has ``more`` than the one before; memory does not
        keep it. None where each is to be asked for. Raises ComponentFailure."""
        if len(operations.works) > 1 or not isinstance(self.link, LocalLink):
            return None
        (work,), (repeat,) = operations.works, operations.repeats
        found = answers_of(self.link.progression(Operation(work.template.id, first), more, count), count)
        if found is None:
            return None
        costs = costs_of(found, work, repeat)
        return costs if self.slowdown == 1 else [cost.slower(self.slowdown) for cost in costs]

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
        self.memory.known += len(wanted)
        if len(completions) > 1:
            completions = sorted(completions, key=_op_id)
        answer = iter(completions)
        for operations, values in wanted:
            works, repeats = operations.works, operations.repeats
            try:
                costs = [cost_of(next(answer), work, repeat) for work, repeat in zip(works, repeats, strict=True)]
            except KeyError as error:
                allowed = f"one of {', '.join(Provenance)}"
                raise ComponentFailure(
                    self.name, f"says its answer is {error}: must be {allowed}", "being asked"
                ) from None
            cost = costs[0] if len(costs) == 1 else in_turn(costs)
            if cost.duration_ps > MAX_PS:
                what = f"says {layers(works)} takes {cost.duration_ps} ps: time ends after 2^63-1 ps (106 days)"
                raise ComponentFailure(self.name, what, "being asked")
            operations.known.setdefault(values, cost)

    def _settle(self) -> None:
        for tally in self._tallies:
            tally.settle()

    def forget(self) -> None:
        """All it was answered."""
        for operations in self._sets.values():
            operations.known.clear()
        self.memory.known -= self._known
        self._known = 0

    def uses(self) -> list[Use]:
        """Every operation needed so far, and how often."""
        self._settle()
        return [] if self._uses is None else self._uses.all()

    def relink(self, link: Link) -> None:
        """From now on another session answers; what the one before has said is counted, and forgotten."""
        self._settle()
        self.forget()
        if self._uses is not None:
            self._uses.clear()
        self.link, self._oracle = link, oracle(link)

    def counted(self) -> Counted | None:
        """What `add` takes of every operation needed so far."""
        self._settle()
        return None if self._uses is None else self._uses.counted()

    def add(self, usage: Usage, counted: Counted | None) -> None:
        """Count what was needed of the component elsewhere, too."""
        self._elsewhere.merge(usage)
        if self._uses is not None and counted is not None:
            self._uses.add_counted(counted)

    def usage(self) -> Usage:
        """Counts so far. What was asked ahead but never needed does not count."""
        self._settle()
        total = Usage()
        total.merge(self._elsewhere)
        for tally in self._tallies:
            total.merge(tally.usage)
        return total


_op_id = attrgetter("op_id")
_finish = attrgetter("finish_ps", "op_id")


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
        for done in sorted(answer.completions, key=_finish):
            waiting = self._open.pop(done.op_id)
            energy = (done.energy_pj or 0) * waiting.work.copies
            self._usage.add_one(done.provenance, done.finish_ps - done.start_ps, done.energy_pj is not None)
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

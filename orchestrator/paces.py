"""What each replica takes when it has nothing else to do: its components are asked, aside, before the run.

For routers that look ahead (`serving/looking_ahead.py`). Few questions, with lines between their answers: a component
may be a simulator that thinks for seconds. Half batches, chains of collectives and work of the host are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from operator import itemgetter

from .coupling.costs import Cost
from .coupling.port import AskedPort
from .coupling.ports import Ports
from .coupling.spent import WORKING
from .lowering.work import Plan, PlannedOperation, Work
from .placement import UnitPlan
from .serving.batch import Batch, joined
from .serving.pace import Line, Pace, Took

LONGEST = 16_384  # tokens of context: what they add is proportional, so further than that a line will do
TIMES = 2  # from one size asked about to the next


def paces(units: Iterable[UnitPlan], ports: Ports) -> list[Pace]:
    """Of every engine of these, in order. Raises ComponentFailure."""
    asides = _Asides(ports)
    return [pace for unit in units for pace in [_pace(unit, asides)] * len(unit.names)]


def _pace(unit: UnitPlan, asides: _Asides) -> Pace:
    engine, longest = unit.options.engine, max(unit.max_model_len, 2)
    seats, chunk = engine.max_num_seqs or 1, min(engine.max_num_batched_tokens or longest, longest)
    sizes, counts = _sizes(16, longest), _sizes(1, seats)
    contexts = (max(1, min(longest, LONGEST) // 16), min(longest, LONGEST))
    prompts = [_prompt(size, chunk) for size in sizes]
    decodes = [[Batch((), n, n * seen, seen, seen) for n in counts] for seen in contexts]
    ends = asides.steps(unit.plan, [batch for pair in prompts for batch in pair])
    took = [
        Took(*((one + other) / 2 * max(1, size / chunk) for one, other in zip(first, last, strict=True)))
        for size, first, last in zip(sizes, ends[::2], ends[1::2], strict=True)
    ]
    short, long = (Line(counts, asides.steps(unit.plan, batches)) for batches in decodes)
    known, unpriced = asides.energy_known(unit.plan), asides.unpriced(unit.plan)
    return Pace(Line(sizes, took), contexts, (short, long), seats, known, unpriced)


def _sizes(first: int, last: int) -> list[int]:
    """Each so many times the one before; two at least."""
    between = takewhile(lambda size: size < last, (first * TIMES**i for i in range(32)))
    return [*between, last] if last > first else [first, first + 1]


def _prompt(size: int, chunk: int) -> tuple[Batch, Batch]:
    """The first and the last step that compute it; between them attention grows evenly."""
    new = max(2, min(size, chunk))  # one token is a decode
    return Batch((new, 0), 0, 0, 0, 0), Batch((new, max(0, size - new)), 0, 0, 0, 0)


class _Asides:
    """A session of each component that takes no part in the run."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._ports_of: dict[str, AskedPort] = {}
        self._silent: set[str] = set()  # components that do not say what they spend

    def steps(self, plan: Plan, batches: Sequence[Batch]) -> list[Took]:
        """What each of these takes a member of the plan, all others computing the same."""
        return [self._step(plan, batch) for batch in batches]

    def energy_known(self, plan: Plan) -> bool:
        """Whether accelerators say what they spend; all that was asked up to now counts."""
        return not any(work.component in self._silent and work.component.endswith(WORKING) for work in plan.works)

    def unpriced(self, plan: Plan) -> tuple[str, ...]:
        """PIM devices that do not."""
        silent = (work.component for work in plan.works if work.component in self._silent)
        return tuple(dict.fromkeys(one for one in silent if one.endswith(".pim")))

    def _step(self, plan: Plan, batch: Batch) -> Took:
        took = energy = 0
        together = joined([batch] * plan.members)
        for section in plan.sections:
            ways = [self._operations(way, section.repeat, batch, together) for way in section.ways]
            quicker_ps, spent_pj = min(ways, key=itemgetter(0))
            took += quicker_ps
            energy += spent_pj
        return Took(took, energy)

    def _operations(
        self, operations: Sequence[PlannedOperation], repeat: int, batch: Batch, together: Batch
    ) -> tuple[int, int]:
        """(ps, pJ)"""
        took = energy = before = 0
        for operation in operations:
            cost = self._cost(operation.works[0], together if operation.joint else batch, repeat)
            took += max(0, cost.duration_ps - before) if operation.beside else cost.duration_ps
            energy += cost.energy_pj
            before = cost.duration_ps
        return took, energy

    def _cost(self, work: Work, batch: Batch, repeat: int) -> Cost:
        values = work.operands.of(batch)
        if not any(values):
            return Cost(0, 0, True)
        if work.component not in self._ports_of:
            self._ports_of[work.component] = self._ports.aside(work.component)
        port = self._ports_of[work.component]
        operations = port.together((work,), (repeat,))
        if values not in operations.known:
            port.ask([(operations, values)])
        cost = operations.known[values]
        if not cost.energy_known:
            self._silent.add(work.component)
        return cost

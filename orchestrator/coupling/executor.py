"""Running an engine step's operations over the ports.

Operations on asked components between two operations on shared (stepped) ones are one *stretch*: their
durations add up, and the kernel sees one event. Members of a data-parallel group run side by side; a
stretch lasts as long as its slowest member. Where several steps are in flight, a stage does one at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..lowering.work import Plan
from ..serving.batch import Batch, joined
from .hooks import CouplingHooks
from .port import AskedPort, Cost, Item, OperationSet, Question
from .ports import Ports
from .program import ChainedCollectives, Enter, Leave, Portion, Segment, SharedOperation, Stretch, program

NOTHING = Cost(0, 0, True, {}, {})  # of an operation whose numbers are all zero: it is left out
AHEAD = 16  # steps a remote oracle is asked about in advance


class InFlight:
    """One step in flight: where it is in the program, and since when it has been doing that."""

    __slots__ = (
        "batches",
        "done",
        "energy_pj",
        "layer_done",
        "layers",
        "next",
        "number",
        "open",
        "program",
        "since_ps",
        "together",
    )

    def __init__(
        self,
        number: int,
        steps: list[Segment],
        batches: Sequence[Batch],
        done: Callable[[int], None],
        layer_done: Callable[[int], None] | None,
    ) -> None:
        self.number = number
        self.program, self.batches, self.done, self.layer_done = steps, batches, done, layer_done
        self.together = joined(batches)
        self.next = self.energy_pj = self.open = self.layers = self.since_ps = 0

    @property
    def segment(self) -> Segment:
        """What it is doing."""
        return self.program[self.next - 1]


class Executor:
    """Executes steps of one plan, one in each of its lanes at a time.

    ``steady(n)`` says for how many of the n steps after the last one scheduled the same sequences will
    decode; it lets a component behind a round trip be asked once for several steps. It never changes an
    answer.
    """

    def __init__(
        self,
        kernel: Kernel,
        rank: int,
        name: str,
        plan: Plan,
        ports: Ports,
        steady: Callable[[int], int],
        hooks: CouplingHooks,
        fold: bool = True,
    ) -> None:
        self._kernel, self._rank, self._steady = kernel, rank, steady
        self._name, self._hooks = name, hooks
        self._whole = program(plan, ports, "step" if fold else "operation")
        self._by_layer = partial(program, plan, ports, "layer" if fold else "operation")
        self._layered: list[Segment] | None = None  # made when first needed
        self._upcoming: Batch | None = None
        self._queues: dict[str, deque[InFlight]] = {}  # stage -> who waits for it, while it is busy

    def run(
        self,
        number: int,
        batches: Sequence[Batch],
        done: Callable[[int], None],
        layer_done: Callable[[int], None] | None = None,
        upcoming: Batch | None = None,
    ) -> None:
        """Start step ``number`` now; ``done(energy_pj)`` is called at its end, ``layer_done(n)`` after each layer."""
        self._upcoming = upcoming
        if layer_done is not None and self._layered is None:
            self._layered = self._by_layer()
        steps = self._whole if layer_done is None or self._layered is None else self._layered
        self._advance(InFlight(number, steps, batches, done, layer_done))

    def _advance(self, step: InFlight) -> None:
        """Go on until something takes time."""
        while step.next < len(step.program):
            segment = step.program[step.next]
            step.next += 1
            step.since_ps = self._kernel.now_ps
            if isinstance(segment, Stretch):
                self._stretch(step, segment)
                return
            if isinstance(segment, SharedOperation):
                self._shared(step, segment)
                return
            if isinstance(segment, ChainedCollectives):
                self._chained(step, segment)
                return
            if isinstance(segment, Enter):
                if segment.stage in self._queues:
                    self._queues[segment.stage].append(step)
                    return
                self._queues[segment.stage] = deque()
            elif isinstance(segment, Leave):
                self._leave(segment.stage)
            elif step.layer_done is not None:
                step.layers += segment.count
                step.layer_done(step.layers)
        step.done(step.energy_pj)

    def _leave(self, stage: str) -> None:
        queue = self._queues[stage]
        if queue:
            self._resume(self._kernel.now_ps, "stage", queue.popleft())
        else:
            del self._queues[stage]

    def _resume(self, time_ps: int, kind: str, step: InFlight) -> None:
        self._kernel.at(time_ps, Priority.COMPLETION, self._rank, kind, step.number, partial(self._advance, step))

    def _shared(self, step: InFlight, segment: SharedOperation) -> None:
        step.open = len(segment.items)
        for i, (port, item) in enumerate(segment.items):
            batch = step.together if segment.joint else step.batches[i]
            done = partial(self._shared_done, step, i, port.link.name, item)
            if self._hooks.operation_began.listeners:
                self._hooks.operation_began(port.link.name, self._kernel.now_ps)
            port.submit(item, segment.operands.of(batch), done)

    def _shared_done(self, step: InFlight, member: int, component: str, item: Item, energy_pj: int) -> None:
        step.energy_pj += energy_pj
        step.open -= 1
        now, since = self._kernel.now_ps, step.since_ps
        if self._hooks.operation_ended.listeners:
            self._hooks.operation_ended(component, now)
        if self._hooks.operations.listeners:
            self._hooks.operations(self._name, step.number, member, component, (item,), since, now - since)
        if not step.open:
            self._advance(step)

    def _chained(self, step: InFlight, chain: ChainedCollectives) -> None:
        """One operation for all repetitions: how often, then the gap before and the bytes of each."""
        batch = step.batches[0]
        values, folded = [chain.repeat], self._hooks.operations_folded
        for portions, operands in zip(chain.gaps, chain.operands, strict=True):
            gap = 0
            for portion, values_of, cost in self._costs((portions,), False, step.batches):
                if cost is NOTHING:
                    continue
                gap += cost.duration_ps
                step.energy_pj += cost.energy_pj * chain.repeat
                portion.port.use(portion.operations, values_of, cost, chain.repeat)
                if folded.listeners:
                    name, took = portion.port.link.name, cost.duration_ps * chain.repeat
                    folded(self._name, step.number, name, portion.operations.items, step.since_ps, took)
            values += (gap, *operands.of(batch))
        step.open = 1
        done = partial(self._shared_done, step, 0, chain.port.link.name, chain.item)
        if self._hooks.operation_began.listeners:
            self._hooks.operation_began(chain.port.link.name, self._kernel.now_ps)
        chain.port.submit(chain.item, tuple(values), done)

    def _stretch(self, step: InFlight, stretch: Stretch) -> None:
        batches = (step.together,) if stretch.joint else step.batches
        longest, told = 0, self._hooks.operations
        costs = self._costs(stretch.members, stretch.joint, batches)
        for member, portions in enumerate(stretch.members):
            duration = 0
            for _ in portions:
                portion, values, cost = next(costs)
                if cost is NOTHING:
                    continue
                if told.listeners:
                    name, start = portion.port.link.name, step.since_ps + duration
                    told(self._name, step.number, member, name, portion.operations.items, start, cost.duration_ps)
                duration += cost.duration_ps
                step.energy_pj += cost.energy_pj
                portion.port.use(portion.operations, values, cost)
            longest = max(longest, duration)
        self._resume(self._kernel.now_ps + longest, "compute", step)

    def _costs(
        self, members: Sequence[Sequence[Portion]], joint: bool, batches: Sequence[Batch]
    ) -> Iterator[tuple[Portion, tuple[int, ...], Cost]]:
        """Every portion with its numbers and cost, member by member; what is not known is asked first."""
        wanted = [
            (portion, portion.operands.of(batch))
            for portions, batch in zip(members, batches, strict=True)
            for portion in portions
        ]
        costs = [portion.operations.known.get(values) for portion, values in wanted]
        if None in costs:
            missing = [pair for pair, cost in zip(wanted, costs, strict=True) if cost is None and any(pair[1])]
            if missing:
                self._ask(joint, batches, missing)
            costs = [portion.operations.known.get(values, NOTHING) for portion, values in wanted]
        return ((portion, values, cost) for (portion, values), cost in zip(wanted, costs, strict=True) if cost)

    def _ask(self, joint: bool, batches: Sequence[Batch], missing: list[tuple[Portion, tuple[int, ...]]]) -> None:
        """Everything missing in one message a component, all components at once."""
        questions: dict[AskedPort, dict[tuple[int, tuple[int, ...]], Question]] = {}

        def ask(port: AskedPort, operations: OperationSet, values: tuple[int, ...]) -> None:
            if values not in operations.known and any(values):
                questions.setdefault(port, {})[operations.id, values] = Question(operations, values)

        ahead = None
        for portion, values in missing:
            ask(portion.port, portion.operations, values)
            if portion.port.link.remote and len(batches) == 1 and not joint:
                if ahead is None:
                    ahead = self._ahead(batches[0])
                for batch in ahead:
                    ask(portion.port, portion.operations, portion.operands.of(batch))
        for port, wanted in questions.items():
            port.send(list(wanted.values()))
        for port in questions:
            port.receive()

    def _ahead(self, batch: Batch) -> list[Batch]:
        """Steps that are known to follow, or will if nobody joins."""
        last = self._upcoming or batch
        known = [last] if self._upcoming else []
        if last.prompts:
            return known
        return known + [last.later(i) for i in range(1, 1 + self._steady(AHEAD))]

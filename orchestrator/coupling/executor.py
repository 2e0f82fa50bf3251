"""Running an engine step's operations over the ports.

Operations on asked components between two operations on shared (stepped) ones are one *stretch*: their durations add
up, those of a pair are done at the same time (`overlap`), and the kernel sees one event. Members of a data-parallel
group run side by side; a stretch lasts as long as its slowest member. Where several steps are in flight, a stage does
one at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from ..errors import ComponentFailure
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..lowering.work import Plan, Work
from ..serving.batch import Batch, joined
from ..units import MAX_PS
from .costs import Cost
from .hooks import CouplingHooks
from .overlap import Costs, Span, spans, took_ps
from .port import Asked, AskedPort, SteppedPort
from .ports import Ports
from .program import (
    ChainedCollectives,
    Enter,
    InterleavedBlock,
    Leave,
    Portion,
    Segment,
    SharedOperation,
    Stretch,
    program,
)
from .step_costs import Row, StepCosts, now, row_of
from .sub_batches import halves, interleaved_ps, needs, spans_of_turns
from .uses import Values

AHEAD = 16  # steps a remote oracle is asked about in advance


class InFlight:
    """One step in flight: where it is in the program, and since when it has been doing that."""

    __slots__ = (
        "batches",
        "began_ps",
        "done",
        "energy_pj",
        "known",
        "layer_done",
        "layers",
        "next",
        "number",
        "numbers",
        "open",
        "program",
        "since_ps",
        "spent_pj",
        "together",
        "ways",
    )

    def __init__(
        self,
        number: int,
        steps: list[Segment],
        batches: Sequence[Batch],
        done: Callable[[int], None],
        layer_done: Callable[[int], None] | None,
        began_ps: int,
    ) -> None:
        self.number, self.began_ps = number, began_ps
        self.program, self.batches, self.done, self.layer_done = steps, batches, done, layer_done
        self.together = joined(batches)
        self.next = self.energy_pj = self.open = self.layers = self.since_ps = 0
        self.spent_pj: dict[str, int] = {}  # by components that are asked
        self.ways: tuple[int, ...] = ()  # which of two each member takes in the segment, where there are two
        self.known: dict[Stretch, list[Costs]] = {}  # of each member, of those that come again in other layers
        self.numbers: dict[SharedOperation, list[Values]] = {}  # of each member

    @property
    def segment(self) -> Segment:
        """What it is doing."""
        return self.program[self.next - 1]

    def spend(self, component: str, energy_pj: int) -> None:
        self.energy_pj += energy_pj
        self.spent_pj[component] = self.spent_pj.get(component, 0) + energy_pj


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
        self._kernel, self.rank, self._steady = kernel, rank, steady
        self._name, self._hooks, self._spent = name, hooks, ports.spent
        self._whole = program(plan, ports, "step" if fold else "operation")
        self._by_layer = partial(program, plan, ports, "layer" if fold else "operation")
        self._layered: list[Segment] | None = None  # made when first needed
        self._stretches, self._asked = _leapt(self._whole)
        self._upcoming: Batch | None = None
        self._queues: dict[str, deque[InFlight]] = {}  # stage -> who waits for it, while it is busy
        self.began_ps: dict[int, int] = {}  # when steps in flight began, by number

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
        self.began_ps[number] = self._kernel.now_ps
        self._advance(InFlight(number, steps, batches, done, layer_done, self._kernel.now_ps))

    def ahead(self, first: Sequence[Batch], growing: Sequence[bool], count: int) -> StepCosts | None:
        """What a step like ``first`` and those after it take, where a step is nothing but stretches."""
        if not self._stretches or self._hooks.operations.listeners or self._hooks.operation_parts.listeners:
            return None
        if not all(port.link.asked_freely for port in self._asked):
            return None
        rows: list[list[list[Row]]] = []
        for stretch in self._stretches:
            of, grow = ((joined(first),), (False,)) if stretch.joint else (first, growing)
            pairs = zip(stretch.members, of, grow, strict=True)
            rows.append([[row_of(one, batch, count if more else 1) for one in each] for each, batch, more in pairs])
        missing = [missed for members in rows for each in members for row in each for missed in row.missing()]
        if missing:
            self._ask(missing, None)
        costs = StepCosts(rows, count, self._name, self._spent)
        for portion, _ in missing:
            portion.port.memory.trim()
        return costs

    def _advance(self, step: InFlight) -> None:
        """Go on until something takes time."""
        steps, now_ps = step.program, self._kernel.now_ps
        step.since_ps = now_ps
        while step.next < len(steps):
            segment = steps[step.next]
            step.next += 1
            if isinstance(segment, Stretch):
                self._stretch(step, segment)
                return
            if isinstance(segment, SharedOperation):
                if self._shared(step, segment):
                    return
                continue
            if isinstance(segment, ChainedCollectives):
                self._chained(step, segment)
                return
            if isinstance(segment, InterleavedBlock):
                self._interleaved(step, segment)
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
        self._spent.step(self._name, step.began_ps, now_ps, step.spent_pj.items())
        for component, energy_pj in step.spent_pj.items() if self._hooks.energy_spent.listeners else ():
            self._hooks.energy_spent(self._name, step.number, component, energy_pj)
        del self.began_ps[step.number]
        step.done(step.energy_pj)

    def _leave(self, stage: str) -> None:
        if queue := self._queues[stage]:
            self._resume(self._kernel.now_ps, "stage", queue.popleft())
        else:
            del self._queues[stage]

    def _resume(self, time_ps: int, kind: str, step: InFlight) -> None:
        if time_ps > MAX_PS:
            what = f"takes until {time_ps} ps: time ends after 2^63-1 ps (106 days)"
            raise ComponentFailure(" and ".join(step.spent_pj), what, f"computing step {step.number} of {self._name}")
        go_on = partial(self._advance, step)
        self._kernel.at(time_ps, Priority.COMPLETION, self.rank, kind, step.number, go_on, subject=step)

    def _shared(self, step: InFlight, segment: SharedOperation) -> bool:
        """Members whose numbers are all zero have nothing to do; whether any has."""
        values = step.numbers.get(segment)
        if values is None:
            batches = (step.together,) if segment.joint else step.batches
            values = step.numbers[segment] = [segment.operands.of(batch) for batch in batches]
        busy = [member for member, numbers in enumerate(values) if any(numbers)]
        step.open = len(busy)
        for member in busy:
            self._submit(step, member, *segment.works[member], values[member])
        return bool(busy)

    def _submit(self, step: InFlight, member: int, port: SteppedPort, work: Work, values: tuple[int, ...]) -> None:
        if self._hooks.operation_began.listeners:
            self._hooks.operation_began(work.component, self._kernel.now_ps)
        port.submit(work, values, partial(self._shared_done, step, member, work), step)

    def _shared_done(self, step: InFlight, member: int, work: Work, energy_pj: int) -> None:
        step.energy_pj += energy_pj
        step.open -= 1
        now, since = self._kernel.now_ps, step.since_ps
        if self._hooks.operation_ended.listeners:
            self._hooks.operation_ended(work.component, now)
        self._hooks.energy_spent(self._name, step.number, work.component, energy_pj)
        if self._hooks.operations.listeners:
            self._hooks.operations(self._name, step.number, member, work.component, (work,), since, now - since)
        if not step.open:
            self._advance(step)

    def _chained(self, step: InFlight, chain: ChainedCollectives) -> None:
        """One operation for all repetitions: how often, then the gap before and the bytes of each."""
        values, folded = [chain.repeat], self._hooks.operations_folded
        for portions, operands in zip(chain.gaps, chain.operands, strict=True):
            costs = self._costs((portions,), False, step.batches)[0]
            for portion, numbers, cost in costs:
                step.spend(portion.port.name, cost.energy_pj * chain.repeat)
                portion.tally.add(numbers, cost, chain.repeat)
            for portion, cost, _, numbers in spans(costs)[0] if folded.listeners else ():
                self._tell_parts(portion, cost, numbers, chain.repeat)
                name, took = portion.port.name, cost.duration_ps * chain.repeat
                folded(self._name, step.number, name, portion.operations.works, step.since_ps, took)
            gap = took_ps(costs)
            values += (gap, *operands.of(step.batches[0]))
        step.open = 1
        self._submit(step, 0, chain.port, chain.work, tuple(values))

    def _tell_parts(self, portion: Portion, cost: Cost, values: Values, times: int = 1) -> None:
        works, repeats = portion.operations.works, portion.operations.repeats
        if self._hooks.operation_parts.listeners or self._hooks.operation_numbers.listeners:
            self._hooks.operation_numbers(works, values, [count * times * portion.port.slowdown for count in repeats])
            self._hooks.operation_parts(works, [part * times for part in cost.parts_ps])

    def _stretch(self, step: InFlight, stretch: Stretch) -> None:
        longest = 0
        found = step.known.get(stretch)
        if found is None or not _holds(found):
            batches = (step.together,) if stretch.joint else step.batches
            found = self._costs(stretch.members, stretch.joint, batches)
            if stretch.instead:
                found = _quicker(step, found, self._costs(stretch.instead, stretch.joint, batches))
            else:
                step.known[stretch] = found
        for member, costs in enumerate(found):
            self._spend(step, costs)
            if self._hooks.operations.listeners:
                self._tell(step, member, *spans(costs))
            longest = max(longest, took_ps(costs))
        self._resume(self._kernel.now_ps + longest, "compute", step)

    def _interleaved(self, step: InFlight, block: InterleavedBlock) -> None:
        """The whole batch at once, or two halves that take turns, whichever is done first."""
        (batch,) = step.batches
        found = self._costs((block.portions,), False, (batch,))
        if block.instead:
            found = _quicker(step, found, self._costs((block.instead,), False, (batch,)))
        (whole,) = found
        took, pair = took_ps(whole), halves(batch)
        if pair is not None:
            first, second = self._costs((block.portions,) * 2, False, pair)
            turns = interleaved_ps(block.repeat, needs(block, first), needs(block, second))
            if turns < took:
                step.ways = ()
                both = [*first, *second]
                self._spend(step, both)
                if self._hooks.operations.listeners:
                    self._tell(step, 0, *spans_of_turns(block, both, turns))
                self._resume(self._kernel.now_ps + turns, "compute", step)
                return
        self._spend(step, whole)
        if self._hooks.operations.listeners:
            self._tell(step, 0, *spans(whole))
        self._resume(self._kernel.now_ps + took, "compute", step)

    @staticmethod
    def _spend(step: InFlight, costs: Costs) -> None:
        for portion, values, cost in costs:
            step.spend(portion.port.name, cost.energy_pj)
            portion.tally.add(values, cost)

    def _tell(self, step: InFlight, member: int, in_turn: Sequence[Span], hidden: Sequence[Span]) -> None:
        """First what takes the time of a stretch, one after another, then what is hidden behind that."""
        for portion, cost, start, values in (*in_turn, *hidden):
            self._tell_parts(portion, cost, values)
            name, works, since = portion.port.name, portion.operations.works, step.since_ps + start
            self._hooks.operations(self._name, step.number, member, name, works, since, cost.duration_ps)

    def _costs(self, members: Sequence[Sequence[Portion]], joint: bool, batches: Sequence[Batch]) -> list[Costs]:
        """Of each member every portion with its numbers and cost; what is not known is asked first.

        Portions whose numbers are all zero are left out: there is nothing to do.
        """
        wanted, missing = [], []
        for portions, batch in zip(members, batches, strict=True):
            mine = []
            for portion in portions:
                values = portion.operands.of(batch)
                if any(values):
                    mine.append((portion, values))
                    if values not in portion.operations.known:
                        missing.append((portion, values))
            wanted.append(mine)
        if missing:
            self._ask(missing, batches[0] if len(batches) == 1 and not joint else None)
        costs: list[Costs] = [[(portion, values, now(portion, values)) for portion, values in mine] for mine in wanted]
        for portion, _ in missing:
            portion.port.memory.trim()
        return costs

    def _ask(self, missing: Sequence[tuple[Portion, tuple[int, ...]]], alone: Batch | None) -> None:
        """Everything missing in one message a component, all components at once; ``alone``: the only member's batch."""
        asked: dict[AskedPort, dict[Asked, None]] = {}  # in order, each once
        ahead: list[Batch] | None = None
        for portion, values in missing:
            port, operations = portion.port, portion.operations
            asked.setdefault(port, {})[operations, values] = None
            if port.elsewhere and alone:
                ahead = self._ahead(alone) if ahead is None else ahead
                for batch in ahead:
                    later = portion.operands.of(batch)
                    if later not in operations.known and any(later):
                        asked[port][operations, later] = None
        for port, wanted in asked.items():
            if port.elsewhere:
                port.send(list(wanted))
        for port, wanted in asked.items():
            if port.elsewhere:
                port.receive()
            else:
                port.ask(list(wanted))

    def _ahead(self, batch: Batch) -> list[Batch]:
        """Steps that are known to follow, or will if nobody joins."""
        last = self._upcoming or batch
        known = [last] if self._upcoming else []
        steady = 0 if last.prompts else self._steady(AHEAD)
        return known + [last.later(i) for i in range(1, 1 + steady)]


def _quicker(step: InFlight, first: Sequence[Costs], other: Sequence[Costs]) -> list[Costs]:
    """Of each member the quicker of two ways; the first where they are equal."""
    both = list(zip(first, other, strict=True))
    step.ways = tuple(int(took_ps(other) < took_ps(first)) for first, other in both)
    return [costs[way] for costs, way in zip(both, step.ways, strict=True)]


def _holds(found: Sequence[Costs]) -> bool:
    """Whether what an equal layer has cost is what this one costs: nobody was slowed down or replaced since."""
    for costs in found:
        for portion, values, cost in costs:
            if portion.operations.known.get(values) is not cost or portion.port.slowdown != 1:
                return False
    return True


def _leapt(steps: Sequence[Segment]) -> tuple[list[Stretch], list[AskedPort]]:
    """A step's stretches, and whom they ask; none if it is anything else, or not known when it begins: a stretch in the
    midst of it is slower where a component has been slowed down since."""
    stretches = [segment for segment in steps if isinstance(segment, Stretch) and not segment.instead]
    portions = [portion for stretch in stretches for member in stretch.members for portion in member]
    ports = list(dict.fromkeys(portion.port for portion in portions))
    changing = len(steps) > 1 and any(port.slows for port in ports)
    return ([], []) if changing or len(stretches) < len(steps) else (stretches, ports)

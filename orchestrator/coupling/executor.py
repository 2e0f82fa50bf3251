"""Running an engine step's operations over the ports.

Operations on asked components between two operations on shared (stepped) ones are one *span*: their
durations add up, and the kernel sees one event. A step without shared operations is one span whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..lowering.plan import Plan, Role, Size, Work
from ..serving.batch import Batch
from .port import AskedPort, Cost, Group, Item, Question, SteppedPort

AHEAD = 16  # steps a remote oracle is asked about in advance


@dataclass(frozen=True, slots=True)
class SpanPart:
    """Operations of one span on one component that take the same numbers."""

    port: AskedPort
    group: Group
    size: Size


@dataclass(frozen=True, slots=True)
class Shared:
    """One operation on a stepped component."""

    port: SteppedPort
    item: Item
    size: Size


Segment = tuple[SpanPart, ...] | Shared


class Executor:
    """Executes steps of one plan, one at a time.

    ``steady(n)`` says for how many of the next n steps the same sequences will decode; it lets a
    component behind a round trip be asked once for several steps. It never changes an answer.
    """

    def __init__(
        self,
        kernel: Kernel,
        rank: int,
        plan: Plan,
        ports: dict[Role, AskedPort | SteppedPort],
        steady: Callable[[int], int],
        fold: bool = True,
    ) -> None:
        self._kernel, self._rank, self._steady = kernel, rank, steady
        self._segments = _segments(plan, ports, fold)
        self._batch = Batch((), 0, 0, 0, 0)
        self._next = 0
        self._energy_pj = 0
        self._done: Callable[[int], None] = lambda energy: None

    def run(self, batch: Batch, done: Callable[[int], None]) -> None:
        """Start a step now; ``done(energy_pj)`` is called at its end."""
        self._batch, self._done, self._next, self._energy_pj = batch, done, 0, 0
        self._advance()

    def _advance(self) -> None:
        if self._next == len(self._segments):
            self._done(self._energy_pj)
            return
        segment = self._segments[self._next]
        self._next += 1
        if isinstance(segment, Shared):
            segment.port.submit(segment.item, segment.size.of(self._batch), self._shared_done)
            return
        duration = 0
        for part, cost in zip(segment, self._costs(segment), strict=True):
            duration += cost.duration_ps
            self._energy_pj += cost.energy_pj
            part.port.use(cost)
        self._kernel.at(self._kernel.now_ps + duration, Priority.COMPLETION, self._rank, self._advance)

    def _shared_done(self, energy_pj: int) -> None:
        self._energy_pj += energy_pj
        self._advance()

    def _costs(self, parts: tuple[SpanPart, ...]) -> list[Cost]:
        batch = self._batch
        keys = [(part.group.id, part.size.of(batch)) for part in parts]
        costs = [part.port.memory.get(key) for part, key in zip(parts, keys, strict=True)]
        if None in costs:
            self._ask(parts, keys, costs)
            costs = [part.port.memory[key] for part, key in zip(parts, keys, strict=True)]
        return costs  # type: ignore[return-value]

    def _ask(self, parts: tuple[SpanPart, ...], keys: list[tuple[int, tuple[int, ...]]],
             costs: list[Cost | None]) -> None:  # fmt: skip
        """Everything missing in one message a component, all components at once."""
        missing: dict[AskedPort, dict[tuple[int, tuple[int, ...]], Question]] = {}
        for part, key, cost in zip(parts, keys, costs, strict=True):
            if cost is None:
                questions = missing.setdefault(part.port, {})
                questions[key] = Question(part.group, key[1])
                if part.port.link.remote:
                    for batch in self._ahead():
                        values = part.size.of(batch)
                        questions[part.group.id, values] = Question(part.group, values)
        for port, wanted in missing.items():
            port.send([question for key, question in wanted.items() if key not in port.memory])
        for port in missing:
            port.receive()

    def _ahead(self) -> list[Batch]:
        if self._batch.prompts:
            return []
        return [self._batch.later(i) for i in range(1, 1 + self._steady(AHEAD))]


def _segments(plan: Plan, ports: dict[Role, AskedPort | SteppedPort], fold: bool) -> list[Segment]:
    """Spans and shared operations of a whole step, the block written out only where it must be."""

    def shared(works: tuple[Work, ...]) -> bool:
        return any(isinstance(ports[work.role], SteppedPort) for work in works)

    sequence = [(work, 1) for work in plan.prologue]
    if fold and not shared(plan.block):
        sequence += [(work, plan.layers) for work in plan.block]
    else:
        sequence += [(work, 1) for work in plan.block] * plan.layers
    sequence += [(work, 1) for work in plan.epilogue]

    segments: list[Segment] = []
    span: list[tuple[Work, int]] = []
    for work, repeat in sequence:
        port = ports[work.role]
        if isinstance(port, SteppedPort):
            if span:
                segments.append(_span(span, ports))
                span = []
            segments.append(Shared(port, Item(work.template, 1, work.copies), work.size))
        else:
            span.append((work, repeat))
            if not fold:
                segments.append(_span(span, ports))
                span = []
    if span:
        segments.append(_span(span, ports))
    return segments


def _span(works: list[tuple[Work, int]], ports: dict[Role, AskedPort | SteppedPort]) -> tuple[SpanPart, ...]:
    """One part for each (component, size); a template used twice is asked once and counted twice."""
    parts: dict[tuple[Role, str], tuple[Size, dict[int, Item]]] = {}
    for work, repeat in works:
        size, items = parts.setdefault((work.role, work.size.name), (work.size, {}))
        before = items.get(work.template.id)
        items[work.template.id] = Item(work.template, repeat + (before.repeat if before else 0), work.copies)
    spans = []
    for (role, _), (size, items) in parts.items():
        port = ports[role]
        if not isinstance(port, AskedPort):
            raise TypeError("a span holds operations on asked components only")
        spans.append(SpanPart(port, port.group(tuple(items.values())), size))
    return tuple(spans)

"""A plan written out for its ports: what an executor runs through in a step.

Granularity ``step`` folds all it can: a block of layers without a shared operation is one stretch.
``layer`` keeps layers apart, for whoever wants to know when each is through; ``operation`` folds
nothing, for tests that folding changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..errors import InputError
from ..lowering.quantity import Operands
from ..lowering.work import Plan, PlannedOperation, Section, Work
from .costs import OperationSet, Tally
from .port import AskedPort, SteppedPort
from .ports import Ports

Granularity = Literal["step", "layer", "operation"]


@dataclass(frozen=True, slots=True)
class Portion:
    """Operations of one stretch on one component that take the same numbers.

    ``pair``: they are done while the one beside them in the stretch, which has the same pair, is done: the templates of
    the two.
    """

    port: AskedPort
    tally: Tally
    operands: Operands
    pair: tuple[int, int] | None = None
    operations: OperationSet = field(init=False)  # the tally's

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", self.tally.operations)


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Parts one after another, for each member; ``joint``: of all members together, once.

    ``instead``: another way to the same end; each member takes the quicker one. Stretches of equal layers are one.
    """

    members: tuple[tuple[Portion, ...], ...]
    joint: bool
    instead: tuple[tuple[Portion, ...], ...] = ()

    def taken(self, ways: Sequence[int]) -> tuple[tuple[Portion, ...], ...]:
        """Of each member the way it takes: 1 is the other one."""
        if not self.instead:
            return self.members
        return tuple((mine, other)[way] for mine, other, way in zip(self.members, self.instead, ways, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class SharedOperation:
    """An operation of each member (or one joint one) on stepped components. Those of equal layers are one."""

    works: tuple[tuple[SteppedPort, Work], ...]
    operands: Operands
    joint: bool


@dataclass(frozen=True, slots=True)
class ChainedCollectives:
    """All repetitions of a block at once: stretches and the shared operations after them, as one operation.

    ``gaps[i]`` are the portions of the stretch before shared operation i, ``operands[i]`` says what that takes.
    """

    port: SteppedPort
    work: Work
    repeat: int
    gaps: tuple[tuple[Portion, ...], ...]
    operands: tuple[Operands, ...]


@dataclass(frozen=True, slots=True)
class Attending:
    """What is done up to attention, attention in the PIM devices, and what the accelerator does of it meanwhile."""

    before: tuple[Portion, ...]
    memory: Portion
    beside: Portion


@dataclass(frozen=True, slots=True)
class InterleavedBlock:
    """All repetitions of a block that may be done by two half batches that take turns (`sub_batches`).

    ``instead``: another way to do it by the whole batch.
    """

    repeat: int
    rounds: tuple[Attending, ...]
    after: tuple[Portion, ...]
    instead: tuple[Portion, ...] = ()

    @property
    def portions(self) -> tuple[Portion, ...]:
        """All, one after another."""
        rounds = [part for one in self.rounds for part in (*one.before, one.memory, one.beside)]
        return (*rounds, *self.after)

    def taken(self, ways: Sequence[int]) -> tuple[tuple[Portion, ...], ...]:
        """As `Stretch.taken`; halves take neither."""
        return (self.instead if tuple(ways) == (1,) else self.portions,)


@dataclass(frozen=True, slots=True)
class Enter:
    """Wait until the stage is free, then occupy it."""

    stage: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The stage is free for the next step."""

    stage: str


@dataclass(frozen=True, slots=True)
class Layers:
    """So many more layers are through."""

    count: int


Segment = Stretch | SharedOperation | ChainedCollectives | InterleavedBlock | Enter | Leave | Layers


def program(plan: Plan, ports: Ports, granularity: Granularity) -> list[Segment]:
    """The segments of a step."""
    writer = _Writer(ports, granularity)
    stage: str | None = None
    for section in plan.sections:
        # With one step in flight nobody ever waits for a stage.
        if plan.lanes > 1 and section.stage != stage and section.operations:
            if stage is not None:
                writer.close(Leave(stage))
            if section.stage is not None:
                writer.close(Enter(section.stage))
            stage = section.stage
        writer.section(section)
    writer.flush()
    if plan.lanes > 1 and stage is not None:
        writer.close(Leave(stage))
    return writer.segments


class _Writer:
    """Collects operations into stretches; ``flush`` ends the stretch at hand."""

    def __init__(self, ports: Ports, granularity: Granularity) -> None:
        self._ports, self._granularity = ports, granularity
        self.segments: list[Segment] = []
        self._pending: list[tuple[PlannedOperation, int]] = []
        self._ways = False  # whether the section at hand may be done in two
        self._stretches: dict[tuple[tuple[int, int], ...], Stretch] = {}  # written before, by what is in them
        self._shared: dict[int, SharedOperation] = {}

    def close(self, segment: Segment) -> None:
        self.flush()
        self.segments.append(segment)

    def section(self, section: Section) -> None:
        if len(section.ways) > 1:
            self._in_two_ways(section)
            return
        if self._granularity != "operation" and section.chain and self._ports.does_chain(section):
            self._chained(section, section.chain)
            return
        self._in_turn(section)

    def _in_two_ways(self, section: Section) -> None:
        """A section decided on by itself. Raises InputError where others share in what is done instead."""
        works = [work for operation in section.operations for work in operation.instead]
        for work in filter(self._ports.is_shared, works):
            raise self._shared_by_others("gemv", "pim", work)
        self.flush()
        self._ways = True
        self._in_turn(section)
        self.flush()
        self._ways = False

    def _in_turn(self, section: Section) -> None:
        if section.interleaved:
            self._interleaved(section)
            return
        once = self._granularity == "step" and not any(self._is_shared(operation) for operation in section.operations)
        # Members meet in every repetition: what lies between two meetings is a stretch of its own, folded or not.
        meets = any(operation.joint for operation in section.operations)
        if meets:
            self.flush()
        for _ in range(1 if once else section.repeat):
            for operation in section.operations:
                self._operation(operation, section.repeat if once else 1)
            if meets:
                self.flush()
            if section.layers and self._granularity != "step":
                self.close(Layers(section.layers))

    def _chained(self, section: Section, chain: Work) -> None:
        """Write a section as chained collectives."""
        port = self._ports.of(chain)
        if not isinstance(port, SteppedPort):
            raise TypeError("collectives are chained on a stepped component only")
        self.flush()
        gaps: list[tuple[Portion, ...]] = []
        for operation in section.operations:
            if self._is_shared(operation):
                gaps.append(self._portions(0) if self._pending else ())
                self._pending = []
            else:
                self._pending.append((operation, 1))
        by_layer = self._granularity == "layer"
        segment = ChainedCollectives(
            port,
            chain,
            1 if by_layer else section.repeat,
            tuple(gaps),
            tuple(each.works[0].operands for each in section.operations if self._is_shared(each)),
        )
        for _ in range(section.repeat if by_layer else 1):
            self.segments.append(segment)
            if by_layer and section.layers:
                self.segments.append(Layers(section.layers))

    def _interleaved(self, section: Section) -> None:
        """Write a section of which two half batches may take turns. Raises InputError where others share in it."""
        self.flush()
        for operation in section.operations:
            if self._is_shared(operation):
                raise self._shared_by_others("sub_batch_interleaving", True, operation.works[0])
        rounds, start, end = [], 0, len(section.operations)
        for at, operation in enumerate(section.operations):
            if operation.beside:
                before = self._portions_of(section, start, at - 1)
                memory, beside = self._portions_of(section, at - 1, at + 1)
                rounds.append(Attending(before, memory, beside))
                start = at + 1
        after = self._portions_of(section, start, end)
        instead = self._portions_of(section, 0, end, way=1) if self._ways else ()
        self.segments.append(InterleavedBlock(section.repeat, tuple(rounds), after, instead))
        if section.layers and self._granularity != "step":
            self.segments.append(Layers(section.layers * section.repeat))

    def _shared_by_others(self, field: str, value: object, work: Work) -> InputError:
        where = f"instances.{work.user.partition('/')[0]}.{field}"
        what = f"others use {work.component} at the same time ({work.template.layer}), and it is not modelled then"
        return InputError("scenario", where, value, what)

    def _portions_of(self, section: Section, start: int, end: int, way: int = 0) -> tuple[Portion, ...]:
        self._pending = [(operation, section.repeat) for operation in section.ways[way][start:end]]
        portions = self._portions(0) if self._pending else ()
        self._pending = []
        return portions

    def _operation(self, operation: PlannedOperation, repeat: int) -> None:
        if self._is_shared(operation):
            if id(operation) not in self._shared:
                self._shared[id(operation)] = self._shared_operation(operation)
            self.close(self._shared[id(operation)])
            return
        if self._pending and self._pending[-1][0].joint != operation.joint:
            self.flush()
        if self._granularity == "operation" and len(operation.works) == 1 and not operation.beside and not self._ways:
            self.flush()
        self._pending.append((operation, repeat))

    def _shared_operation(self, operation: PlannedOperation) -> SharedOperation:
        works = []
        for work in operation.works:
            port = self._ports.of(work)
            if not isinstance(port, SteppedPort):
                raise TypeError("members of an operation are all shared, or none is")
            works.append((port, work))
        return SharedOperation(tuple(works), operation.works[0].operands, operation.joint)

    def _is_shared(self, operation: PlannedOperation) -> bool:
        return any(map(self._ports.is_shared, operation.works))

    def flush(self) -> None:
        if not self._pending:
            return
        key = tuple((id(operation), repeat) for operation, repeat in self._pending)
        if key not in self._stretches:
            self._stretches[key] = self._stretch()
        self.segments.append(self._stretches[key])
        self._pending = []

    def _stretch(self) -> Stretch:
        """Of what is pending."""
        joint, members = self._pending[0][0].joint, self._members()
        instead: tuple[tuple[Portion, ...], ...] = ()
        if any(operation.instead for operation, _ in self._pending):
            self._pending = [(operation.other_way, repeat) for operation, repeat in self._pending]
            instead = self._members()
        return Stretch(members, joint, instead)

    def _members(self) -> tuple[tuple[Portion, ...], ...]:
        """What is pending, for each member."""
        return tuple(self._portions(member) for member in range(len(self._pending[0][0].works)))

    def _portions(self, member: int) -> tuple[Portion, ...]:
        """One for each (component, operands, pair); a template used twice is asked once and counted twice."""
        found: dict[tuple[AskedPort, Operands, tuple[int, int] | None], dict[int, tuple[Work, int]]] = {}
        pairs = self._pairs(member)
        for (operation, repeat), pair in zip(self._pending, pairs, strict=True):
            work = operation.works[member]
            port = self._ports.of(work)
            if not isinstance(port, AskedPort):
                raise TypeError("a stretch holds operations on asked components only")
            works = found.setdefault((port, work.operands, pair), {})
            _, before = works.get(work.template.id, (work, 0))
            works[work.template.id] = work, before + repeat
        return tuple(
            Portion(port, port.tally(*zip(*works.values(), strict=True)), operands, pair)
            for (port, operands, pair), works in found.items()
        )

    def _pairs(self, member: int) -> list[tuple[int, int] | None]:
        """Of each pending operation the pair it is in, if it is done beside another, or another beside it."""
        pairs: list[tuple[int, int] | None] = [None] * len(self._pending)
        for i, (operation, _) in enumerate(self._pending):
            if operation.beside and i:
                before = self._pending[i - 1][0].works[member].template.id
                pairs[i - 1] = pairs[i] = before, operation.works[member].template.id
        return pairs

"""A plan written out for its ports: what an executor runs through in a step.

Granularity ``step`` folds all it can: a block of layers without a shared operation is one span.
``layer`` keeps layers apart, for whoever wants to know when each is through; ``operation`` folds
nothing, for tests that folding changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..lowering.work import Plan, Row, Section, Size
from .port import AskedPort, Group, Item, SteppedPort
from .ports import Ports

Granularity = Literal["step", "layer", "operation"]


@dataclass(frozen=True, slots=True)
class SpanPart:
    """Operations of one span on one component that take the same numbers."""

    port: AskedPort
    group: Group
    size: Size


@dataclass(frozen=True, slots=True)
class Span:
    """Parts one after another, for each member; ``joint``: of all members together, once."""

    members: tuple[tuple[SpanPart, ...], ...]
    joint: bool


@dataclass(frozen=True, slots=True)
class Shared:
    """One operation of each member (or one joint one) on stepped components."""

    items: tuple[tuple[SteppedPort, Item], ...]
    size: Size
    joint: bool


@dataclass(frozen=True, slots=True)
class Train:
    """All repetitions of a block at once: spans and the shared operations after them, as one operation.

    ``gaps[i]`` are the parts of the span before shared operation i, ``sizes[i]`` says what that takes.
    """

    port: SteppedPort
    item: Item
    repeat: int
    gaps: tuple[tuple[SpanPart, ...], ...]
    sizes: tuple[Size, ...]


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


Segment = Span | Shared | Train | Enter | Leave | Layers


def program(plan: Plan, ports: Ports, granularity: Granularity) -> list[Segment]:
    """The segments of a step."""
    writer = _Writer(ports, granularity)
    stage: str | None = None
    for section in plan.sections:
        # With one step in flight nobody ever waits for a stage.
        if plan.lanes > 1 and section.stage != stage and section.rows:
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
    """Collects rows into spans; ``flush`` ends the span at hand."""

    def __init__(self, ports: Ports, granularity: Granularity) -> None:
        self._ports, self._granularity = ports, granularity
        self.segments: list[Segment] = []
        self._rows: list[tuple[Row, int]] = []

    def close(self, segment: Segment) -> None:
        self.flush()
        self.segments.append(segment)

    def section(self, section: Section) -> None:
        if self._granularity != "operation" and self._ports.does_train(section.train) and self._train(section):
            return
        once = self._granularity == "step" and not any(self._is_shared(row) for row in section.rows)
        # Members meet in every repetition: what lies between two meetings is a span of its own, folded or not.
        meets = any(row.joint for row in section.rows)
        if meets:
            self.flush()
        for _ in range(1 if once else section.repeat):
            for row in section.rows:
                self._row(row, section.repeat if once else 1)
            if meets:
                self.flush()
            if section.layers and self._granularity != "step":
                self.close(Layers(section.layers))

    def _train(self, section: Section) -> bool:
        """Write a section as trains, if all its shared operations are the train's and it ends with one."""
        train = section.train
        port = self._ports.of(train) if train else None
        shared = [row for row in section.rows if self._is_shared(row)]
        if not isinstance(port, SteppedPort) or train is None or self._is_shared(section.rows[-1]) is False:
            return False
        if any(self._ports.of(row.works[0]) is not port for row in shared):
            return False
        self.flush()
        gaps: list[tuple[SpanPart, ...]] = []
        for row in section.rows:
            if self._is_shared(row):
                gaps.append(self._parts(0) if self._rows else ())
                self._rows = []
            else:
                self._rows.append((row, 1))
        by_layer = self._granularity == "layer"
        segment = Train(
            port,
            Item(train.template, 1, train.copies),
            1 if by_layer else section.repeat,
            tuple(gaps),
            tuple(row.works[0].size for row in shared),
        )
        for _ in range(section.repeat if by_layer else 1):
            self.segments.append(segment)
            if by_layer and section.layers:
                self.segments.append(Layers(section.layers))
        return True

    def _row(self, row: Row, repeat: int) -> None:
        if self._is_shared(row):
            items = []
            for work in row.works:
                port = self._ports.of(work)
                if not isinstance(port, SteppedPort):
                    raise TypeError("members of a row are all shared, or none is")
                items.append((port, Item(work.template, repeat, work.copies)))
            self.close(Shared(tuple(items), row.works[0].size, row.joint))
            return
        if self._rows and self._rows[-1][0].joint != row.joint:
            self.flush()
        self._rows.append((row, repeat))
        if self._granularity == "operation" and len(row.works) == 1:
            self.flush()

    def _is_shared(self, row: Row) -> bool:
        return any(isinstance(self._ports.of(work), SteppedPort) for work in row.works)

    def flush(self) -> None:
        if not self._rows:
            return
        members = len(self._rows[0][0].works)
        joint = self._rows[0][0].joint
        self.segments.append(Span(tuple(self._parts(member) for member in range(members)), joint))
        self._rows = []

    def _parts(self, member: int) -> tuple[SpanPart, ...]:
        """One part for each (component, size); a template used twice is asked once and counted twice."""
        parts: dict[tuple[AskedPort, str], tuple[Size, dict[int, Item]]] = {}
        for row, repeat in self._rows:
            work = row.works[member]
            port = self._ports.of(work)
            if not isinstance(port, AskedPort):
                raise TypeError("a span holds operations on asked components only")
            _, items = parts.setdefault((port, work.size.name), (work.size, {}))
            before = items.get(work.template.id)
            items[work.template.id] = Item(work.template, repeat + (before.repeat if before else 0), work.copies)
        return tuple(
            SpanPart(port, port.group(tuple(items.values())), size) for (port, _), (size, items) in parts.items()
        )

"""The vocabulary of a plan: operations, who does them, which numbers they take, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from metronome.hwmodels.interface import DTYPE_BYTES, Attribute, Template

from .quantity import Operands


@dataclass(frozen=True, slots=True)
class Work:
    """One operation of a step: which component does it, what it is, which numbers it takes.

    ``copies`` devices do it at the same time; only energy counts them. ``user`` says whose turn it is:
    works of one user, or of users of which one's path begins with the other's, never happen at once;
    a user that ends with ``*`` may even overlap itself.
    """

    component: str
    template: Template
    operands: Operands
    copies: int
    user: str

    def __deepcopy__(self, memo: dict[int, Any]) -> Work:
        return self


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """An operation of a step: the same on every data-parallel member at once, or (``joint``) one of all members.

    ``beside``: it is done while the one before it is, on another component. ``instead``: works on other components that
    may be done in place of ``works``, a product with a matrix that both hold.
    """

    works: tuple[Work, ...]
    joint: bool = False
    beside: bool = False
    instead: tuple[Work, ...] = ()

    @property
    def other_way(self) -> PlannedOperation:
        """With the works that may be done in place of its own; itself if there are none."""
        return replace(self, works=self.instead, instead=()) if self.instead else self


@dataclass(frozen=True, slots=True)
class Section:
    """Operations one after another, all of them ``repeat`` times, on one pipeline stage.

    ``name`` is for people: prologue, block, epilogue, ... A ``stage`` does one step at a time; transfers between
    stages are on none. ``layers`` of the model are through after each repetition. ``chain``: one operation that
    stands for all network operations of all repetitions, for a network whose model takes the kind ``train``.
    ``interleaved``: two half batches may take turns in it.
    """

    name: str
    operations: tuple[PlannedOperation, ...]
    stage: str | None
    repeat: int = 1
    layers: int = 0
    chain: Work | None = None
    interleaved: bool = False

    @property
    def ways(self) -> tuple[tuple[PlannedOperation, ...], ...]:
        """Its operations, and those that may be done in their place, if some may."""
        if not any(operation.instead for operation in self.operations):
            return (self.operations,)
        return self.operations, tuple(operation.other_way for operation in self.operations)


@dataclass(frozen=True, slots=True)
class Plan:
    """The operations of one step of one instance. ``lanes`` steps may be in flight."""

    sections: tuple[Section, ...]
    members: int = 1
    lanes: int = 1

    @property
    def works(self) -> list[Work]:
        rows = [operation for section in self.sections for operation in section.operations]
        return [work for row in rows for work in (*row.works, *row.instead)]

    def copied_bytes(self, stage: str) -> int:
        """Of a stage's matrices those of one rank that lie in other components, too (`PlannedOperation.instead`)."""
        copied = [
            (row.instead[0].template.attributes, section.repeat)
            for section in self.sections
            for row in section.operations
            if row.instead and section.stage == stage
        ]
        return sum(repeat * _matrix_bytes(attributes) for attributes, repeat in copied)

    @property
    def chains(self) -> list[Work]:
        return [section.chain for section in self.sections if section.chain]


def _matrix_bytes(of: Mapping[str, Attribute]) -> int:
    """Of a ``gemm``, as its weights are stored."""
    bits = float(of.get("weight_bits", 8 * DTYPE_BYTES[str(of["dtype"])]))
    return round(int(of["n"]) * int(of["k"]) * bits / 8)


class Templates:
    """Every template of a run, once: instances of one model share theirs, and so their answers."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Template] = {}

    def declare(self, kind: str, layer: str, attributes: Mapping[str, Attribute]) -> Template:
        key = (kind, layer, tuple(sorted(attributes.items())))
        if key not in self._known:
            self._known[key] = Template(len(self._known), kind, layer, dict(attributes))
        return self._known[key]

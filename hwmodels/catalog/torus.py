"""Slices of a torus: how the devices of one are laid out, and which of its axes are rings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any


@dataclass(frozen=True, slots=True)
class Torus:
    """What a kind of link says of the slices it is sold in.

    Attributes:
        closes: an axis of a multiple of so many devices has its ends joined; a shorter one is a line.
        cubes: that holds only where it does so of all axes (3D tori, put together of cubes).
        shapes: devices along each axis of the slices there are, the last axis first in the order of devices.
    """

    closes: int
    cubes: bool
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, facts: dict[str, Any] | None) -> Torus | None:
        """As a catalog file has it; None where it has none."""
        if facts is None:
            return None
        return cls(facts["closes"], facts.get("cubes", False), tuple(tuple(shape) for shape in facts["shapes"]))

    def shape(self, devices: int) -> tuple[int, ...]:
        """Of so many devices: the slice there is, or a row."""
        return next((shape for shape in self.shapes if prod(shape) == devices), (devices,))

    def rings(self, dims: Sequence[int]) -> tuple[bool, ...]:
        """Of each axis whether its ends are joined."""
        found = tuple(size % self.closes == 0 for size in dims)
        return (all(found) and len(dims) == 3,) * len(dims) if self.cubes else found

"""What an operation has its memory do, as far as a model declares it (feature TRAFFIC of `interface`)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .interface import Provenance


class Pattern(StrEnum):
    """In what order memory is touched."""

    STREAM = "stream"  # one address after another
    STRIDED = "strided"  # every access in another row of the same bank
    RANDOM = "random"  # rows of anywhere


class Overlap(StrEnum):
    """How a model's own work and its memory's go together."""

    NONE = "none"  # one after the other
    TILES = "tiles"  # double-buffered: the first tile's loads and the last's work are alone
    PERFECT = "perfect"  # the longer of the two


class Moved(NamedTuple):
    """A part of an operation: what the memory is to do, and ``busy_ps`` of the model's own beside that."""

    read_bytes: int
    write_bytes: int
    busy_ps: float
    pattern: Pattern = Pattern.STREAM
    overlap: Overlap = Overlap.PERFECT
    tiles: int = 1


class Traffic(NamedTuple):
    """An operation less the time of its memory: its ``parts``, one after another, and ``fixed_ps`` beside them.

    ``power_w`` is the device's above standby, its memory included, for as long as the operation takes in the end; None
    where that is not known.
    """

    parts: tuple[Moved, ...]
    fixed_ps: float
    provenance: Provenance
    power_w: float | None = None

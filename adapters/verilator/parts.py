"""What of an operation is done register by register: all its tiles, or the first of each product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from metronome.hwmodels.accelerator.systolic import Gemm


class Part(NamedTuple):
    """A product, of which so many tiles are done one by one; then the time of ``skipped`` ones passes."""

    gemm: Gemm
    folds: int
    skipped: int


def parts(gemms: Iterable[tuple[int, Gemm, int]], most: int | None) -> Iterator[Part]:
    """``gemms``: how often each is done, and its tiles. At most ``most`` tiles of each, however often, are done."""
    for often, gemm, folds in gemms:
        left = often * folds if most is None else min(most, often * folds)
        skipped = often * folds - left
        while left:
            now = min(left, folds)
            left -= now
            yield Part(gemm, now, 0 if left else skipped)


def pace(ends: list[int]) -> float:
    """Cycles from tile to tile, in the last half of those that were done; there are four at least."""
    half = len(ends) // 2
    return (ends[-1] - ends[half - 1]) / (len(ends) - half)

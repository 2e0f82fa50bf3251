"""Where an operation stands that is played tile by tile: what is loaded, computed and stored, and at what pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from .tiles import Fold, Piece

NOTHING = Piece(0, 0)


class Segment(NamedTuple):
    """``folds_in_all`` folds of one kind; the last of each ``group`` takes a cycle less: the next begins in it."""

    folds: Iterator[Fold]
    folds_in_all: int
    group: int


class Tile(NamedTuple):
    """A fold, or ``skipped`` folds that are not played."""

    fold: Fold
    skipped: int = 0


def tiles(segments: Iterator[Segment], most: int | None) -> Iterator[Tile]:
    """All of them in order, at most ``most`` of each segment one by one."""
    for segment in segments:
        played = segment.folds_in_all if most is None else min(most, segment.folds_in_all)
        for number, fold in enumerate(islice(segment.folds, played), 1):
            yield Tile(fold._replace(cycles=fold.cycles - (number % segment.group == 0)))
        if played < segment.folds_in_all:
            yield Tile(Fold((), 0, NOTHING), segment.folds_in_all - played)


class Play:
    """One operation. Times are picoseconds. ``loading``: tiles in order, each with how many of its requests are on
    their way; ``stores`` the same of each store, in a list of one."""

    def __init__(self, tiles: Iterator[Tile], since_ps: int, cycle_ps: float) -> None:
        self._tiles, self._cycle_ps = tiles, cycle_ps
        self.since_ps = since_ps
        self.loading: deque[tuple[Tile, list[int]]] = deque()
        self.computing: Tile | None = None
        self.stores: deque[list[int]] = deque()
        self.over = False  # nothing more to load
        self._ends: list[int] = []  # of the tiles of this segment
        self._anchor_ps, self._cycles, self._ended_ps = since_ps, 0, since_ps

    def next(self) -> Tile | None:
        """The next tile to load, if there is one."""
        found = next(self._tiles, None)
        self.over = found is None
        return found

    @property
    def ready(self) -> Tile | None:
        """The tile that can be computed next, if it is loaded and nothing else is computed."""
        return self.loading[0][0] if self.computing is None and self.loading and not self.loading[0][1][0] else None

    def begin(self) -> Tile:
        """It is computed from now on."""
        tile, _ = self.loading.popleft()
        self.computing = tile
        return tile

    def end_ps(self, tile: Tile, now_ps: int) -> int:
        """When a tile that begins now is computed. Cycles add up from the last stall: none is lost to rounding."""
        if now_ps != self._ended_ps:
            self._anchor_ps, self._cycles = now_ps, 0
        if tile.skipped:
            end = now_ps + round(tile.skipped * self._pace())
            self._anchor_ps, self._cycles, self._ends = end, 0, []
        else:
            self._cycles += tile.fold.cycles
            end = self._anchor_ps + round(self._cycles * self._cycle_ps)
            self._ends.append(end)
        self._ended_ps = end
        return end

    def waited_ps(self, now_ps: int) -> int:
        """For how long nothing was computed, until now."""
        return now_ps - self._ended_ps

    def _pace(self) -> float:
        """From tile to tile, in the last half of those played."""
        half = len(self._ends) // 2
        return (self._ends[-1] - self._ends[half - 1]) / (len(self._ends) - half)

    @property
    def done(self) -> bool:
        return self.over and self.computing is None and not self.loading and not self.stores

"""An operation that the array of `fetcher.sv` is at: product after product, in the time that is granted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from metronome.hwmodels.interface import Completion

from ..tools.clock import Clock
from .bus import DONE, WAITS, Answer, Asked, Bus
from .parts import Part, pace


@dataclass
class Totals:
    """Of a session: tiles that were done, cycles of these, cycles without operands and with products that could not
    leave."""

    tiles: int = 0
    cycles: int = 0
    hungry: int = 0
    blocked: int = 0


class Wanted(NamedTuple):
    """What was asked for, and when."""

    at_ps: int
    asked: Asked


class Playing:
    """Its clock begins with it. Edges of the array are counted from ``_base``, where its present product began."""

    def __init__(self, bus: Bus, clock: Clock, parts: Iterator[Part], most: int | None, totals: Totals) -> None:
        self._bus, self._clock, self._parts, self._totals = bus, clock, parts, totals
        self._most = most or 0
        self._base = self._cycle = 0
        self._part: Part | None = None
        self._waits = False
        self._hungry = self._blocked = 0  # of this product, so far
        self._ends: list[int] = []
        self._next(0)

    def _next(self, base: int) -> None:
        """The next product begins where the last one and what was skipped of it have ended."""
        self._base, self._cycle, self._waits = base, 0, False
        self._hungry = self._blocked = 0
        self._part = next(self._parts, None)
        if self._part is not None:
            self._bus.start(self._part.gemm, self._part.folds)

    def go(self, upto_ps: int, answers: Sequence[tuple[Completion, int | None]]) -> list[Wanted]:
        """Go on to that time; ``answers``: what has come by then, with the slots of reads."""
        wanted: list[Wanted] = []
        coming = [Answer(self._clock.after(one.finish_ps) - self._base, slot) for one, slot in answers]
        while self._part is not None:
            upto = self._clock.last(upto_ps) - self._base
            if (self._waits and not coming) or (upto <= self._cycle and not coming):
                break
            ran, coming = self._bus.run(upto, coming), []
            self._cycle, self._waits = ran.cycle, ran.state == WAITS
            wanted += [Wanted(self._clock.at_ps(self._base + one.edge), one) for one in ran.asked]
            self._ends += [self._base + end for end in ran.ends]
            self._count(ran.hungry, ran.blocked)
            if ran.state == DONE:
                self._totals.tiles += self._part.folds
                self._totals.cycles += ran.cycle
                skipped = self._part.skipped
                rest = round(skipped * pace(self._ends[-self._most :])) if skipped else 0
                self._next(self._base + ran.cycle + rest)
        return wanted

    def _count(self, hungry: int, blocked: int) -> None:
        self._totals.hungry += hungry - self._hungry
        self._totals.blocked += blocked - self._blocked
        self._hungry, self._blocked = hungry, blocked

    @property
    def ended_ps(self) -> int | None:
        """When all is done, once that is known; a picosecond after its beginning at the earliest."""
        return max(self._clock.at_ps(self._base), self._clock.since_ps + 1) if self._part is None else None

    @property
    def next_ps(self) -> int | None:
        """When it acts again; None while it waits for answers."""
        if self._part is None:
            return self.ended_ps
        return None if self._waits else self._clock.at_ps(self._base + self._cycle + 1)

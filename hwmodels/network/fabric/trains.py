"""Operations one after another, and where such a train stands at a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf
from operator import or_

from ...interface import PS_PER_S
from .shapes import Shape
from .slow import NEVER


@dataclass(frozen=True, slots=True)
class Leg:
    """One operation: after ``gap_ps`` it waits ``latency_ps``, then ``work`` bytes of its largest flow
    move, at ``cap`` bytes/s if alone."""

    gap_ps: int
    shape: Shape
    latency_ps: int
    cap: float
    work: float
    alone_ps: int  # from the beginning of the gap to the end, if it shares with nobody
    place: int  # of the shape among those of its template

    @classmethod
    def of(cls, gap_ps: int, shape: Shape, latency_ps: int, cap: float, work: float, place: int) -> Leg:
        latency = max(latency_ps, 1)
        return cls(gap_ps, shape, latency, cap, work, gap_ps + latency + duration_ps(work, cap), place)

    def join_ps(self, start_ps: int) -> int:
        """When its flows begin to move, if the gap begins at ``start_ps``."""
        return start_ps + self.gap_ps + self.latency_ps


def duration_ps(size: float, rate: float) -> int:
    """At most `NEVER`, which it is for bytes that do not move."""
    if size <= 0:
        return 0
    seconds = size / rate if rate else inf
    return round(seconds * PS_PER_S) if seconds < NEVER / PS_PER_S else NEVER


class Train:
    """``repeat`` times these legs. ``leg`` of all of them is under way, its gap began at ``since_ps``."""

    def __init__(self, op_id: int, at_ps: int, legs: Sequence[Leg], repeat: int) -> None:
        self.op_id, self.at_ps, self.legs, self.total = op_id, at_ps, legs, repeat * len(legs)
        self.leg, self.since_ps = 0, at_ps
        self.bits = reduce(or_, [leg.shape.bits for leg in legs])  # of its links
        self.finish_ps = -1  # while it is alone
        self._lap_ps = sum([leg.alone_ps for leg in legs])

    def twin(self) -> Train:
        """A copy in the same place."""
        made = Train.__new__(Train)
        made.__dict__.update(self.__dict__)
        return made

    @property
    def now(self) -> Leg:
        return self.legs[self.leg % len(self.legs)]

    def alone_until(self) -> int:
        """When it ends if it stays alone from ``since_ps`` on."""
        left = self.total - self.leg
        laps, rest = divmod(left, len(self.legs))
        first = self.leg % len(self.legs)
        ps = laps * self._lap_ps
        return self.since_ps + ps + sum(self.legs[(first + i) % len(self.legs)].alone_ps for i in range(rest))

    def move_to(self, when: int) -> None:
        """Having been alone, to the leg that is under way at ``when``."""
        laps = (when - self.since_ps) // self._lap_ps
        self.leg += laps * len(self.legs)
        self.since_ps += laps * self._lap_ps
        while self.since_ps + self.now.alone_ps <= when:
            self.since_ps += self.now.alone_ps
            self.leg += 1

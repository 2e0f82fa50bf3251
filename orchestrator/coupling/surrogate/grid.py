"""Answers by interpolation over a grid that is refined until its error has been checked.

A cell is a box between powers of two. Its corners are asked for, and points within that have no part
in fitting; if one of those is off by more than the tolerance, the cell is halved along the axis that
bends most. What cannot be halved further, or has been often enough, is asked for itself. Nothing here
depends on the order of questions, so a run's results do not depend on what other runs have asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import NamedTuple

from metronome.hwmodels.interface import Provenance, worse

DRAWN = 2  # points within a cell that are asked for to check it, beside its centre: the centre is where a bend
# shows most, and what falls in step with halves shows elsewhere
DEPTH = 5  # halvings of a cell; behind it the function has steps, and asking is cheaper than finding them
#: Of a cell's error, what two halvings must leave at most. Where a function bends they leave a sixteenth of it, or a
#: quarter; one jump is soon outside; where it has steps all over they leave as much, and asking is cheaper.
HELPS = 0.7

Point = tuple[int, ...]


class Answer(NamedTuple):
    """What a component said of an operation alone, or what stands for it."""

    duration_ps: int
    energy_pj: int | None
    provenance: Provenance


class Worst(NamedTuple):
    """The largest error found, relative, and where."""

    error: float = 0.0
    point: Point = ()


@dataclass(frozen=True, slots=True)
class Box:
    """A cell, corners included. An axis of no width is a coordinate that is met exactly."""

    low: Point
    high: Point

    @property
    def corners(self) -> list[Point]:
        return sorted(set(product(*zip(self.low, self.high, strict=True))))

    def middle(self, axis: int) -> int:
        return (self.low[axis] + self.high[axis]) // 2

    def divisible(self, axis: int) -> bool:
        return self.high[axis] - self.low[axis] > 1

    def halves(self, axis: int) -> tuple[Box, Box]:
        middle = self.middle(axis)
        cut_high, cut_low = list(self.high), list(self.low)
        cut_high[axis] = cut_low[axis] = middle
        return Box(self.low, tuple(cut_high)), Box(tuple(cut_low), self.high)

    @property
    def centre(self) -> Point:
        return tuple(self.middle(axis) for axis in range(len(self.low)))

    def inside(self, number: int) -> Point:
        """A point within, not on the border where there is one off it: drawn from the cell's own digest, so that it
        falls in step with nothing."""
        drawn = hashlib.sha256(repr((self.low, self.high, number)).encode()).digest()
        found = []
        for axis, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
            room = high - low - 1
            share = int.from_bytes(drawn[4 * axis : 4 * axis + 4], "big")
            found.append(low + 1 + share % room if room > 0 else low)
        return tuple(found)


def root(point: Sequence[float]) -> Box:
    """The box between powers of two that holds a point."""
    low, high = [], []
    for value in point:
        if value <= 2:
            below, above = int(value), ceil(value)
        else:
            below = 1 << (int(value).bit_length() - 1)
            above = below if value == below else 2 * below
        low.append(below)
        high.append(above)
    return Box(tuple(low), tuple(high))


def off(answer: Answer, truth: Answer) -> float:
    """How far an answer's time is off, relative."""
    return abs(answer.duration_ps - truth.duration_ps) / truth.duration_ps


def interpolate(box: Box, point: Sequence[float], known: Mapping[Point, Answer]) -> Answer:
    """Multilinear between the corners."""
    duration, energy, energy_known = 0.0, 0.0, True
    provenance = Provenance.INTERPOLATED
    for corner in box.corners:
        weight = 1.0
        for at, low, high, value in zip(corner, box.low, box.high, point, strict=True):
            if high > low:
                share = (value - low) / (high - low)
                weight *= share if at == high else 1 - share
        if not weight:
            continue
        answer = known[corner]
        duration += weight * answer.duration_ps
        energy_known &= answer.energy_pj is not None
        energy += weight * (answer.energy_pj or 0)
        provenance = worse(provenance, answer.provenance)
    return Answer(round(duration), round(energy) if energy_known else None, provenance)


class Grid:
    """The cells of one family of one template. ``ask`` gives the component's own answers."""

    def __init__(self, ask: Callable[[list[Point]], None], known: Mapping[Point, Answer], tolerance: float) -> None:
        self._ask, self._known, self._tolerance = ask, known, tolerance
        self._errors: dict[Box, Worst] = {}
        self.worst = Worst()  # of the cells that are used

    def at(self, point: Sequence[float]) -> Answer | None:
        """The answer at a point; None where it is to be asked for itself."""
        box, errors = root(point), list[Worst]()
        for _ in range(DEPTH + 1):
            if all(low == high for low, high in zip(box.low, box.high, strict=True)):
                self._ask([box.low])
                return self._known[box.low]
            if self._too_small(box):
                return None
            worst = self._checked(box)
            if worst.error <= self._tolerance:
                self.worst = max(self.worst, worst)
                return interpolate(box, point, self._known)
            errors.append(worst)
            if len(errors) > 2 and worst.error > HELPS * errors[-3].error:
                return None
            axis = self._axis(box)
            below, above = box.halves(axis)
            box = below if point[axis] <= box.middle(axis) else above
        return None

    def distrust(self, point: Sequence[float], error: float) -> None:
        """An audit found the answer at this point off: its cell is halved from now on, and so are the halves."""
        box = root(point)
        while self._errors.get(box, Worst()).error > self._tolerance:
            axis = self._axis(box)
            below, above = box.halves(axis)
            box = below if point[axis] <= box.middle(axis) else above
        if box in self._errors:
            self._errors[box] = Worst(error, self._errors[box].point)

    @staticmethod
    def _too_small(box: Box) -> bool:
        """Whether asking for a point costs no more than checking the cell would."""
        points = 1
        for low, high in zip(box.low, box.high, strict=True):
            points *= high - low + 1
        return points <= len(box.corners) + DRAWN + 1

    def _checked(self, box: Box) -> Worst:
        """The worst error at the points that check this cell."""
        found = self._errors.get(box)
        if found is None:
            inside = [box.centre, *(box.inside(number) for number in range(DRAWN))]
            self._ask([*box.corners, *inside])
            found = self._errors[box] = max(self._off(box, point) for point in inside)
        return found

    def _off(self, box: Box, point: Point) -> Worst:
        return Worst(off(interpolate(box, point, self._known), self._known[point]), point)

    def _axis(self, box: Box) -> int:
        """The axis along which the lower edge bends most."""
        axes = [axis for axis in range(len(box.low)) if box.divisible(axis)]
        if len(axes) == 1:
            return axes[0]
        middles = {axis: box.halves(axis)[1].low for axis in axes}
        self._ask(list(middles.values()))
        return max(axes, key=lambda axis: (self._off(box, middles[axis]).error, -axis))

"""Collectives on a torus: rings along each axis, or lines where the ends of an axis are not joined.

Where links go to neighbours alone (`Interconnect.torus`) the bytes of a rank go the shorter way round a ring, half as
many hops as it has ranks, and along a line all the way. So the authors of "How to Scale Your Model" (jax-ml.github.io)
count what XLA does on TPUs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .collectives import RINGS, Flow, Pattern, pattern


@dataclass(frozen=True, slots=True)
class Axis:
    """Ranks along one axis.

    Attributes:
        along: their places. ways: directions, and the share of what is passed on that goes each.
        lanes: links that are busy at once. hops: one after another, to reach everybody.
        ring: whether the ends are joined.
    """

    along: list[int]
    ways: tuple[tuple[int, float], ...]
    lanes: int
    hops: int
    ring: bool = True


def torus(kind: str, places: Sequence[tuple[int, ...]], rings: Sequence[bool] | None = None) -> Pattern | None:
    """None of a kind without rings, and unless the ranks' places fill a grid.

    ``rings``: of each axis whether the ends of these ranks are joined, where links go to neighbours alone. Each axis
    begins with a part of the bytes, as large as it has links, so that all links are busy; the part goes on along the
    others, as much smaller as there were ranks before.
    """
    axes = [
        _axis(sorted(set(along)), None if rings is None else rings[i])
        for i, along in enumerate(zip(*places, strict=True))
    ]
    wide = [i for i, axis in enumerate(axes) if len(axis.along) > 1]
    if kind not in RINGS or not wide or math.prod(len(axis.along) for axis in axes) != len(places):
        return None
    number = {place: rank for rank, place in enumerate(places)}
    lanes = sum(axes[i].lanes for i in wide)
    passed = dict.fromkeys(wide, 0.0)  # along an axis, by each rank
    for first, begun in enumerate(wide):
        left = {"all_reduce": 2.0, "all_gather": len(places), "reduce_scatter": 1}[kind] * axes[begun].lanes
        for i in wide[first:] + wide[:first]:
            passed[i] += left * (1 - 1 / len(axes[i].along)) / lanes
            left /= len(axes[i].along)
    flows: list[Flow] = []
    for i, way, part in [(axis, *way) for axis in wide for way in axes[axis].ways]:
        axis = axes[i]
        for place, rank in number.items():
            beside = axis.along.index(place[i]) + way
            if axis.ring or 0 <= beside < len(axis.along):
                other = (*place[:i], axis.along[beside % len(axis.along)], *place[i + 1 :])
                flows.append((rank, number[other], passed[i] * part))
    steps = (2 if kind == "all_reduce" else 1) * sum(axes[i].hops for i in wide)
    return pattern("torus", flows, steps, RINGS[kind](len(places))[2])


def _axis(along: list[int], ring: bool | None) -> Axis:
    """Of a line each link is taken to carry what the fullest, one at its end, has to."""
    size = len(along)
    if size <= 2:  # two ranks have one link
        return Axis(along, ((1, 1.0),), 1, size - 1)
    if ring is None:
        return Axis(along, ((1, 0.5), (-1, 0.5)), 2, size - 1)
    if ring:
        return Axis(along, ((1, size // 2 / (size - 1)), (-1, (size - 1) // 2 / (size - 1))), 2, size // 2)
    return Axis(along, ((1, 1.0), (-1, 1.0)), 1, size - 1, ring=False)

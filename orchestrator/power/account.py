"""Energy of one part of the cluster: stretches of time, and what was drawn in each, evenly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..units import PS_PER_S

Times = NDArray[np.int64]  # ps


@dataclass(frozen=True, slots=True)
class Account:
    """From ``since_ps[i]`` to ``until_ps[i]`` it drew ``joules[i]``; stretches may overlap.

    ``node`` is "" for what stands in none.
    """

    node: str
    part: str
    since_ps: Times
    until_ps: Times
    joules: NDArray[np.float64]

    @classmethod
    def steady(cls, node: str, part: str, watts: float, stretches: Iterable[tuple[int, int]]) -> Account:
        """So many W in each of these stretches, nothing in between."""
        times = np.array(list(stretches), dtype=np.int64).reshape(-1, 2)
        return cls(node, part, times[:, 0], times[:, 1], watts * (times[:, 1] - times[:, 0]) / PS_PER_S)

    @property
    def total_j(self) -> float:
        return float(self.joules.sum())

    def in_bins(self, bins: int, width_ps: int = PS_PER_S) -> NDArray[np.float64]:
        """J of each of the first so many bins; all of it, if that many have been."""
        first = self.since_ps // width_ps
        last = np.maximum(first, (self.until_ps - 1) // width_ps)
        found = np.zeros(bins)
        found += np.bincount(first[first == last], self.joules[first == last], bins)
        longer = np.flatnonzero(first != last)
        if not len(longer):
            return found
        counts = (last - first + 1)[longer]
        which = np.repeat(longer, counts)
        place = first[which] + np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        begins = np.maximum(self.since_ps[which], place * width_ps)
        share = np.minimum(self.until_ps[which], (place + 1) * width_ps) - begins
        took = self.until_ps[which] - self.since_ps[which]
        found += np.bincount(place, self.joules[which] * share / took, bins)
        return found


def merged(since_ps: Times, until_ps: Times, hold_ps: int = 0) -> list[tuple[int, int]]:
    """The stretches that these cover together, each held for so long after its end."""
    order = np.argsort(since_ps, kind="stable")
    since, until = since_ps[order], np.maximum.accumulate(until_ps[order] + hold_ps)
    if not len(since):
        return []
    begins = np.flatnonzero(np.r_[True, since[1:] > until[:-1]])
    return list(zip(since[begins].tolist(), until[np.r_[begins[1:] - 1, len(since) - 1]].tolist(), strict=True))


def without(stretches: Sequence[tuple[int, int]], holes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is left of them; both by time, none overlapping another of its kind."""
    found = []
    for since, until in stretches:
        for begin, end in holes:
            if since < end and begin < until:
                if since < begin:
                    found.append((since, begin))
                since = end
        if since < until:
            found.append((since, until))
    return found

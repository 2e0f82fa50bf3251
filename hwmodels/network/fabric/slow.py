"""Links that are slow for a while, or down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .links import bits_of

MILLION = 10**6
NEVER = 2**63  # ps: beyond any grant


@dataclass(frozen=True, slots=True)
class Slow:
    """From a time on these links take ``millionths`` / 10^6 times as long for a byte; 0: nothing moves over them.

    It holds until another one with the same ``key`` comes.
    """

    key: int
    links: frozenset[int]
    millionths: int

    @property
    def bits(self) -> int:
        """Of its links."""
        return bits_of(self.links)

    @property
    def share(self) -> float:
        """Of the rate that is left."""
        return MILLION / self.millionths if self.millionths else 0.0


def what_is_left(capacity: Sequence[float], slows: Iterable[Slow]) -> list[float]:
    """The rate of each link, bytes/s: a link that several hold for is as slow as the slowest."""
    share: dict[int, float] = {}
    for slow in slows:
        for link in slow.links:
            share[link] = min(share.get(link, 1.0), slow.share)
    return [rate * share.get(link, 1.0) for link, rate in enumerate(capacity)]

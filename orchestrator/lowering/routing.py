"""Which experts tokens pick: how often each is picked, and how many are hit by a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Routing:
    """``shares[e]``: the chance that a token picks expert e; they add up to the experts a token picks.

    ``spread``: picks are dealt out in turn instead of drawn, so that T tokens hit as many experts as can be.
    """

    name: str
    shares: tuple[float, ...]
    even: bool = True
    spread: bool = False

    def busiest(self, ranks: int) -> int:
        """The first expert of the device that is picked most, of ``ranks`` over which experts are spread in order."""
        local = len(self.shares) // ranks
        return max(range(0, local * ranks, local), key=lambda first: math.fsum(self.shares[first : first + local]))

    def hit(self, shares: Sequence[float], tokens: float) -> float:
        """Of the experts with these shares, how many are expected to be picked by any of ``tokens``.

        Drawn independently, an expert is missed by all with probability (1 - share)^tokens.
        """
        if self.spread:
            return min(len(shares), math.fsum(shares) * tokens)
        if self.even:
            return len(shares) * (1 - math.pow(1 - shares[0], tokens))
        return math.fsum(1 - math.pow(1 - share, tokens) for share in shares)

    def hit_formula(self, first: int, end: int, tokens: str) -> str:
        """What `hit` computes of the experts from ``first`` to ``end``; shares that differ are not written out."""
        count, share = end - first, self.shares[first]
        if self.spread:
            return f"min({count}, {math.fsum(self.shares[first:end])!r} * {tokens})"
        if self.even:
            return f"{count} * (1 - (1 - {share!r}) ^ {tokens})"
        return f"sum over experts {first} to {end - 1} of (1 - (1 - share) ^ {tokens}), shares: {self.name}"


def routing(model: str, experts: int, top_k: int, exponent: float = 1.0, histogram: Sequence[float] = ()) -> Routing:
    """``balanced``, ``uniform``, ``zipf`` (share of the i-th expert falls as 1/i^exponent) or ``histogram``
    (recorded counts, one an expert)."""
    even = (top_k / experts,) * experts
    if model == "balanced":
        return Routing(f"balanced {experts}", even, spread=True)
    if model == "uniform":
        return Routing(f"uniform {experts}", even)
    weights = [1 / (i + 1) ** exponent for i in range(experts)] if model == "zipf" else list(histogram)
    return Routing(f"{model} {experts}", _capped(weights, top_k), even=False)


def _capped(weights: Sequence[float], top_k: int) -> tuple[float, ...]:
    """Weights scaled to add up to ``top_k`` with none above 1: a token picks an expert once at most."""
    shares = [0.0] * len(weights)
    free = [i for i, weight in enumerate(weights) if weight > 0]
    left = float(top_k)
    while free:
        total = math.fsum(weights[i] for i in free)
        full = [i for i in free if weights[i] / total * left >= 1]
        if not full:
            for i in free:
                shares[i] = weights[i] / total * left
            break
        for i in full:
            shares[i] = 1.0
        left -= len(full)
        free = [i for i in free if i not in full]
    return tuple(shares)

"""Experts that a device keeps of all it may need: how many of a batch's are missing, from how tokens pick."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .routing import Routing

BISECTIONS = 200  # halvings: an age is exact to the last digit of a float


@dataclass(frozen=True)
class ExpertCache:
    """In each layer a device keeps ``kept`` of its experts, ``first`` up to ``end``: those that were picked last.

    That is the LRU cache of Eliseev and Mazur, "Fast Inference of Mixture-of-Experts Language Models with Offloading"
    (2023). Tokens pick independently, so it holds the experts of the last ``age`` tokens, whose expected number fills
    it: Che's approximation (Che, Tung and Wang, "Hierarchical Web Caching Systems", 2002), in tokens for time.
    """

    routing: Routing
    first: int
    end: int
    kept: int

    def picked(self, tokens: float) -> float:
        """Different experts that so many tokens are expected to pick in a layer."""
        return self.routing.hit(self.routing.shares[self.first : self.end], tokens)

    def missed(self, tokens: float) -> float:
        """Those of them that are not there: what the last ``age`` tokens and these pick, less what the former did."""
        return self.picked(self.age + tokens) - self.kept if self.age is not None else 0.0

    @cached_property
    def age(self) -> float | None:
        """None where all experts that are ever picked are there."""
        if sum(share > 0 for share in self.routing.shares[self.first : self.end]) <= self.kept:
            return None
        low, high = 0.0, 1.0
        while self.picked(high) < self.kept:
            high *= 2
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.picked(middle) < self.kept else (low, middle)
        return high


def expert_cache(routing: Routing, ranks: int, kept: int) -> ExpertCache:
    """That of the device, of those that experts are spread over, whose experts are picked most."""
    local = len(routing.shares) // ranks
    first = routing.busiest(ranks)
    return ExpertCache(routing, first, first + local, kept)

"""The edges of a clock that starts with an operation."""

from __future__ import annotations


class Clock:
    """Edge n is n cycles after ``since_ps``, to the picosecond: none is lost to rounding."""

    def __init__(self, since_ps: int, cycle_ps: float) -> None:
        self.since_ps, self._cycle_ps = since_ps, cycle_ps

    def at_ps(self, edge: int) -> int:
        return self.since_ps + round(edge * self._cycle_ps)

    def last(self, upto_ps: int) -> int:
        """The last edge that is no later."""
        edge = int((upto_ps - self.since_ps) / self._cycle_ps)
        while self.at_ps(edge + 1) <= upto_ps:
            edge += 1
        while self.at_ps(edge) > upto_ps:
            edge -= 1
        return edge

    def after(self, at_ps: int) -> int:
        """The first edge that is later: what happens at an edge itself is seen by the next."""
        return self.last(at_ps) + 1

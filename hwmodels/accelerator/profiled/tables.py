"""Measured tables and how they are read between and beyond their points.

Every lookup returns ``(picoseconds, provenance)``. One axis rule throughout: below the first point
its value (clamped); beyond the last, the line through it and the point at half of it, or the next before
(extrapolated: a kernel that fills the device takes time in proportion to its work, and two points
close together would show their noise); between two
points, the line through them. Linear, not logarithmic: a kernel's time is a sum of linear terms, and
on held-out points of real attention profiles linear interpolation errs three to five times less.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ...interface import Provenance, worse

HIT, BETWEEN, BELOW, BEYOND = (
    Provenance.MEASURED,
    Provenance.INTERPOLATED,
    Provenance.CLAMPED,
    Provenance.EXTRAPOLATED,
)


def bracket(axis: Sequence[int], x: float) -> tuple[int, int, float, Provenance]:
    """(lower index, upper index, weight of the upper, how): the axis rule above."""
    last = len(axis) - 1
    if x <= axis[0]:
        return 0, 0, 0.0, HIT if x == axis[0] else BELOW
    i = bisect_right(axis, x) - 1
    if axis[i] == x:
        return i, i, 0.0, HIT
    if i == last:
        if last == 0:
            return 0, 0, 0.0, BEYOND
        half = min(max(bisect_right(axis, axis[last] / 2) - 1, 0), last - 1)
        return half, last, (x - axis[half]) / (axis[last] - axis[half]), BEYOND
    return i, i + 1, (x - axis[i]) / (axis[i + 1] - axis[i]), BETWEEN


def pairs(tokens: float, cached: float) -> float:
    """(query, key) pairs of a prompt's new tokens over its cached ones and themselves: attention's work."""
    return tokens * (cached + tokens / 2)


class Curve:
    """time(x), for layers whose time depends on one count (tokens or sequences)."""

    def __init__(self, points: dict[int, float]) -> None:
        self.xs = sorted(points)
        self.ys = [points[x] for x in self.xs]

    def __call__(self, x: float) -> tuple[float, Provenance]:
        i, j, weight, how = bracket(self.xs, max(x, 1))
        value = self.ys[i] if i == j else self.ys[i] + weight * (self.ys[j] - self.ys[i])
        return value, how

    def left_out(self) -> list[float]:
        """Relative errors of the inner points, each read off the line through its neighbours."""
        xs, ys = self.xs, self.ys
        found = []
        for i in range(1, len(xs) - 1):
            guess = ys[i - 1] + (xs[i] - xs[i - 1]) / (xs[i + 1] - xs[i - 1]) * (ys[i + 1] - ys[i - 1])
            if ys[i]:
                found.append(abs(guess / ys[i] - 1))
        return found


class Surface:
    """time(row, column) as one curve a row; rows may have different columns."""

    def __init__(self, points: dict[tuple[int, int], float]) -> None:
        rows: dict[int, dict[int, float]] = {}
        for (row, column), value in points.items():
            rows.setdefault(row, {})[column] = value
        self.rows = sorted(rows)
        self.curves = [_RawCurve(rows[row]) for row in self.rows]

    def __call__(self, row: float, column: float) -> tuple[float, Provenance]:
        i, j, weight, how = bracket(self.rows, row)
        low, how_low = self.curves[i](column)
        if i == j:
            return low, worse(how, how_low)
        high, how_high = self.curves[j](column)
        return low + weight * (high - low), worse(how, worse(how_low, how_high))

    def left_out(self) -> list[float]:
        """As of a curve, along the columns."""
        return [error for curve in self.curves for error in curve.left_out()]


class _RawCurve(Curve):
    """A curve whose axis may hold 0."""

    def __call__(self, x: float) -> tuple[float, Provenance]:
        i, j, weight, how = bracket(self.xs, x)
        value = self.ys[i] if i == j else self.ys[i] + weight * (self.ys[j] - self.ys[i])
        return value, how


class _Alone:
    """time(context) of so many decodes without a prompt: a curve, or between two."""

    def __init__(self, low: _RawCurve, high: _RawCurve | None, weight: float, how: Provenance) -> None:
        self._low, self._high, self._weight, self._how = low, high, weight, how

    def __call__(self, context: float) -> tuple[float, Provenance]:
        low, how = self._low(context)
        if self._high is None:
            return low, worse(self._how, how)
        high, how_high = self._high(context)
        return low + self._weight * (high - low), worse(self._how, worse(how, how_high))


class AttentionTable:
    """time(prefill chunk, its cached tokens, decodes, their cached tokens).

    The profile holds at most one prompt and n equal decodes a point. Chunk and decode count span an
    outer grid of which each corner is a surface over the two context lengths; a corner that was not
    measured is replaced by the nearest one that was.

    Beyond the longest chunk the prompt's part grows with its work, the (query, key) pairs. In the other
    three directions work is linear, as the axis rule is: bytes of K and V by decodes and context, pairs
    by cached tokens.
    """

    def __init__(self, points: dict[tuple[int, int], dict[tuple[int, int], float]]) -> None:
        self.surfaces = {corner: Surface(values) for corner, values in points.items()}
        self.chunks = sorted({chunk for chunk, _ in points})
        self.decodes = sorted({n for _, n in points})
        self._nearest: dict[tuple[int, int], Surface] = {}
        self._alone: dict[int, _Alone | None] = {}  # by decodes

    def alone(self, decodes: int, context: float) -> tuple[float, Provenance]:
        """Decodes without a prompt: what asking for a chunk of 0 gives, quickly."""
        if decodes not in self._alone:
            self._alone[decodes] = self._line(decodes)
        line = self._alone[decodes]
        return self(0, 0, decodes, context) if line is None else line(context)

    def _line(self, decodes: int) -> _Alone | None:
        """None where more than two curves meet."""
        c, other, _, how = bracket(self.chunks, 0)
        n0, n1, weight, n_how = bracket(self.decodes, decodes)
        if c != other or not self.decodes[n0]:
            return None
        how, curves = worse(how, n_how), list[_RawCurve]()
        for n in (n0, n1):
            surface = self._surface(self.chunks[c], self.decodes[n])
            row, other, _, row_how = bracket(surface.rows, 0)
            if row != other or self.chunks[c]:
                return None
            how = worse(how, row_how)
            curves.append(surface.curves[row])
        return _Alone(curves[0], curves[1] if n0 != n1 else None, weight, how)

    def __call__(self, chunk: float, cached: float, decodes: int, context: float) -> tuple[float, Provenance]:
        longest = self.chunks[-1]
        if chunk <= longest or not longest:
            return self._within(chunk, cached, decodes, context)
        time, how = self._within(longest, cached, decodes, context)
        prompt, _ = self._within(longest, cached, 0, 0)
        growth = pairs(chunk, cached) / pairs(longest, cached) - 1
        return time + prompt * growth, worse(how, Provenance.EXTRAPOLATED)

    def _within(self, chunk: float, cached: float, decodes: int, context: float) -> tuple[float, Provenance]:
        c0, c1, c_weight, c_how = bracket(self.chunks, chunk)
        n0, n1, n_weight, n_how = bracket(self.decodes, decodes)
        value, how = self._row(c0, n0, n1, n_weight, cached, context)
        if c0 != c1:
            high, high_how = self._row(c1, n0, n1, n_weight, cached, context)
            value, how = value + c_weight * (high - value), worse(how, high_how)
        return value, worse(how, worse(c_how, n_how))

    def left_out(self) -> list[float]:
        """As of a surface, along the decodes' context."""
        return [error for corner in sorted(self.surfaces) for error in self.surfaces[corner].left_out()]

    def _row(self, c: int, n0: int, n1: int, weight: float, cached: float, context: float) -> tuple[float, Provenance]:
        value, how = self._corner(self.chunks[c], self.decodes[n0], cached, context)
        if n0 == n1:
            return value, how
        high, high_how = self._corner(self.chunks[c], self.decodes[n1], cached, context)
        return value + weight * (high - value), worse(how, high_how)

    def _corner(self, chunk: int, decodes: int, cached: float, context: float) -> tuple[float, Provenance]:
        # A side that is absent (no prompt, or no decode) has no context: its axis holds only 0.
        return self._surface(chunk, decodes)(cached if chunk else 0, context if decodes else 0)

    def _surface(self, chunk: int, decodes: int) -> Surface:
        return self.surfaces.get((chunk, decodes)) or self._stand_in(chunk, decodes)

    def _stand_in(self, chunk: int, decodes: int) -> Surface:
        corner = (chunk, decodes)
        if corner not in self._nearest:
            nearest = min(self.surfaces, key=lambda c: ((c[0] - chunk) ** 2 + (c[1] - decodes) ** 2, c))
            self._nearest[corner] = self.surfaces[nearest]
        return self._nearest[corner]


class SkewTable:
    """How far uneven decode contexts push attention from its mean towards its maximum.

    ``alpha`` in ``t = t_mean + alpha (t_max - t_mean)``, by bucket; pooled where a bucket is empty.
    """

    def __init__(
        self,
        axes: dict[str, list[float]],
        labels: dict[str, list[str]],
        buckets: dict[tuple[int, str, str, str, str], float],
        default: float,
    ) -> None:
        self._axes, self._labels, self._buckets, self._default = axes, labels, buckets, default

    def alpha(self, chunk: int, cached: int, decodes: int, mean: float, low: int, high: int) -> float:
        rate = min(1.0, max(0.0, (mean - low) / (high - low)))
        key = (
            chunk,
            self._label("n", decodes),
            self._label("skew_rate", rate),
            self._label("kv_big", high),
            self._label("kp", cached),
        )
        return self._buckets.get(key, self._default)

    def _label(self, axis: str, value: float) -> str:
        labels = self._labels[axis]
        return labels[min(bisect_left(self._axes[axis], value, 1) - 1, len(labels) - 1)]

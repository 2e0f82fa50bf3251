"""The older profile's attention: one prompt's kernel, then the decodes'.

The GPUs' rows of decodes give the context of the whole batch together: a row of n decodes with fewer
than n cached tokens took an empty launch's time, and rows of equal ``kv_cache_size // n`` took the
same. So a row's context is that, and the longer the context the fewer decodes were measured with it.

They were measured with one thread block a query head. FlashAttention 2 computes all query heads of a KV
head in one block when nothing forbids it (``seqlenq_ngroups_swapped`` in flash-attention's
``mha_varlen_fwd``: every sequence has one query token, so no prompt is beside them, and no sliding
window), so n decodes then cost what n over that number cost in the profile. FlashAttention 3, which vLLM
uses on Hopper, does it beside prompts too. The newer profiles show the difference: beside a prompt of 16
tokens 128 decodes take 1.7 (4 query heads a KV head) to 3.3 times (8) as long on RTX PRO 6000.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from ...interface import Provenance, worse
from .tables import RawCurve, Surface, bracket


class DecodeTime(Protocol):
    """time(decodes, context of each) -> (ps, provenance); as many decodes as there are blocks for a KV head."""

    def __call__(self, decodes: float, context: float, /) -> tuple[float, Provenance]: ...

    def left_out(self) -> list[float]: ...


class OldAttention:
    """time(prompt tokens, cached, decodes, context): one prompt's kernel, then the decodes'.

    ``together``: query heads that share a thread block in a batch of decodes alone; ``beside`` a prompt.
    """

    def __init__(
        self, prompts: Surface, decodes: DecodeTime, longest: int, together: int = 1, beside: int = 1
    ) -> None:  # fmt: skip
        self._prompts, self._decodes, self._longest = prompts, decodes, longest
        self._together, self._beside = together, beside

    def __call__(self, chunk: float, cached: float, decodes: int, context: float) -> tuple[float, Provenance]:
        time, how = 0.0, Provenance.MEASURED
        if chunk:
            time, how = self._prompt(chunk, cached)
        if decodes:
            more, how_more = self._decodes(decodes / (self._beside if chunk else self._together), context)
            time, how = time + more, worse(how, how_more)
        return time, how

    def left_out(self) -> list[float]:
        return self._prompts.left_out() + self._decodes.left_out()

    def _prompt(self, chunk: float, cached: float) -> tuple[float, Provenance]:
        """Beyond the longest chunk measured, by the number of (query, key) pairs, which is its work."""
        if chunk <= self._longest:
            return self._prompts(chunk, chunk + cached)
        time, how = self._prompts(self._longest, self._longest + cached)
        pairs = chunk * (cached + chunk / 2) / (self._longest * (cached + self._longest / 2))
        return time * pairs, worse(how, Provenance.EXTRAPOLATED)


class SummedDecodes:
    """time(decodes, context), measured by the context of all decodes together.

    ``points``: (decodes, their context together) -> ps. More decodes than were measured at a context
    continue the line of all that were: thread blocks take turns on the device, and one row alone shows
    the steps of that, not its slope.
    """

    def __init__(self, points: dict[tuple[int, int], float]) -> None:
        rows: dict[int, dict[int, list[float]]] = {}
        for (decodes, together), time in points.items():
            if together >= decodes:  # else nobody has any context, and nothing was computed
                rows.setdefault(decodes, {}).setdefault(together // decodes, []).append(time)
        self._rows = sorted(rows)
        self._curves = [
            RawCurve({context: sum(times) / len(times) for context, times in rows[row].items()}) for row in self._rows
        ]
        #: of rows 0 to i, the context that all of them have; negative, to ascend
        self._reach: list[int] = []
        for curve in self._curves:
            self._reach.append(max(-curve.xs[-1], self._reach[-1] if self._reach else -curve.xs[-1]))

    def __call__(self, decodes: float, context: float) -> tuple[float, Provenance]:
        # Fewer thread blocks than there are processors take as long as one decode's.
        blocks = max(decodes, self._rows[0])
        count = self._measured_at(context)
        if blocks > self._rows[count - 1]:
            return self._beyond(blocks, context, count)
        i, j, weight, how = bracket(self._rows[:count], blocks)
        low, how_low = self._curves[i](context)
        if i == j:
            return low, worse(how, how_low)
        high, how_high = self._curves[j](context)
        return low + weight * (high - low), worse(how, worse(how_low, how_high))

    def left_out(self) -> list[float]:
        return [error for curve in self._curves for error in curve.left_out()]

    def _measured_at(self, context: float) -> int:
        """How many rows, from the first on, have decodes of this context; at least one."""
        return max(1, bisect_right(self._reach, -context))

    def _beyond(self, blocks: float, context: float, count: int) -> tuple[float, Provenance]:
        rows = self._rows[:count]
        times = [curve(context)[0] for curve in self._curves[:count]]
        mean, mean_time = sum(rows) / count, sum(times) / count
        spread = sum((row - mean) ** 2 for row in rows)
        if not spread:
            return times[0] * blocks / rows[0], Provenance.EXTRAPOLATED
        slope = sum((row - mean) * (time - mean_time) for row, time in zip(rows, times, strict=True)) / spread
        return max(mean_time + slope * (blocks - mean), times[-1]), Provenance.EXTRAPOLATED

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

import math
from bisect import bisect_right
from functools import reduce
from itertools import accumulate
from operator import add
from typing import Protocol

from ...interface import Provenance, worse
from .tables import Surface, pairs


class DecodeTime(Protocol):
    """time(decodes, context of each) -> (ps, provenance); as many decodes as there are blocks for a KV head."""

    def __call__(self, decodes: float, context: float, /) -> tuple[float, Provenance]: ...

    def left_out(self) -> list[float]: ...


class OldAttention:
    """time(prompt tokens, cached, decodes, context): one prompt's kernel, then the decodes'.

    ``together``: query heads that share a thread block in a batch of decodes alone; ``beside`` a prompt.
    """

    def __init__(self, prompts: Surface, decodes: DecodeTime, longest: int, together: int = 1, beside: int = 1) -> None:
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
        return time * pairs(chunk, cached) / pairs(self._longest, cached), worse(how, Provenance.EXTRAPOLATED)


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
        self._measured = Surface(
            {
                (decodes, context): math.fsum(times) / len(times)
                for decodes, contexts in rows.items()
                for context, times in contexts.items()
            }
        )
        #: of rows 0 to i, the context that all of them have; negative, to ascend
        self._reach = list(accumulate((-curve.xs[-1] for curve in self._measured.curves), max))

    def __call__(self, decodes: float, context: float) -> tuple[float, Provenance]:
        rows = self._measured.rows
        # Fewer thread blocks than there are processors take as long as one decode's.
        blocks = max(decodes, rows[0])
        count = max(1, bisect_right(self._reach, -context))  # of rows, from the first on, with decodes of this context
        return self._beyond(blocks, context, count) if blocks > rows[count - 1] else self._measured(blocks, context)

    def left_out(self) -> list[float]:
        return self._measured.left_out()

    def _beyond(self, blocks: float, context: float, count: int) -> tuple[float, Provenance]:
        rows = self._measured.rows[:count]
        times = [curve(context)[0] for curve in self._measured.curves[:count]]
        mean, mean_time = math.fsum(rows) / count, math.fsum(times) / count
        # Not by sum(): from Python 3.12 on its last digits are others, and a whole figure may miss it by one.
        spread = reduce(add, ((row - mean) ** 2 for row in rows))
        if not spread:
            return times[0] * blocks / rows[0], Provenance.EXTRAPOLATED
        slope = reduce(add, ((row - mean) * (time - mean_time) for row, time in zip(rows, times, strict=True))) / spread
        return max(mean_time + slope * (blocks - mean), times[-1]), Provenance.EXTRAPOLATED

"""From what is kept of steps and requests to the figures people compare: TTFT, TPOT, ITL, end-to-end latency.

TTFT is from a request's arrival to its first token at the client; TPOT is (e2el - TTFT) / (output - 1),
one-token requests left out; ITL is pooled over all tokens. All in milliseconds here, picoseconds before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..instruments.recorder import Kept
from ..units import PS_PER_MS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Latencies:
    """One entry a request, ms; ``tpot`` is NaN for one-token requests. ITL as values and how often."""

    ttft: Floats
    tpot: Floats
    e2el: Floats
    itl: Floats
    itl_weights: Ints


def latencies(kept: Kept) -> Latencies:
    """Of every request that ended."""
    names = ("arrival_ps", "first_token_ps", "end_ps", "output_tokens")
    arrival, first, end, outputs = (kept.requests.column(name) for name in names)
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot = np.where(outputs > 1, (end - first) / (outputs - 1), np.nan) / PS_PER_MS
    gaps, weights = kept.gaps.table
    return Latencies((first - arrival) / PS_PER_MS, tpot, (end - arrival) / PS_PER_MS, gaps / PS_PER_MS, weights)


PERCENTILES = (("median", 50), ("p90", 90), ("p95", 95), ("p99", 99))


def summary(name: str, values: Floats, weights: Ints | None = None) -> dict[str, float | None]:
    """``mean_NAME``, ``median_NAME``, ``std_NAME``, ``p90_NAME`` ...; None of nothing.

    Percentiles interpolate linearly between order statistics, as numpy's do; weights repeat values.
    """
    keep = ~np.isnan(values)
    values = values[keep]
    weights = np.ones(len(values), dtype=np.int64) if weights is None else weights[keep]
    if not len(values):
        return {f"{what}_{name}": None for what in ("mean", "median", "std", "p90", "p95", "p99")}
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    total = int(weights.sum())
    mean = float((values * weights).sum() / total)
    variance = float((((values - mean) ** 2) * weights).sum() / total)
    upto = np.cumsum(weights)

    def at(percent: float) -> float:
        position = percent / 100 * (total - 1)
        low = int(position)
        a = float(values[np.searchsorted(upto, low, side="right")])
        b = float(values[np.searchsorted(upto, min(low + 1, total - 1), side="right")])
        return a + (position - low) * (b - a)

    points = {f"{what}_{name}": at(percent) for what, percent in PERCENTILES}
    return {f"mean_{name}": mean, f"std_{name}": variance**0.5, **points}

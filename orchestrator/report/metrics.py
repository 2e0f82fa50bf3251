"""From step logs and sequences to the figures people compare: TTFT, TPOT, ITL, end-to-end latency.

TTFT is from a request's arrival to its first token at the client; TPOT is (e2el - TTFT) / (output - 1),
one-token requests left out; ITL is pooled over all tokens. All in milliseconds here, picoseconds before.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..instruments.recorder import StepLog
from ..serving.request_state import RequestState
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


def latencies(done: list[RequestState], logs: list[StepLog]) -> Latencies:
    """Of every request that ended."""
    arrival, first, end, outputs = (
        np.array(column, dtype=np.int64)
        for column in (
            [s.request.arrival_ps for s in done],
            [s.first_token_ps for s in done],
            [s.end_ps for s in done],
            [s.request.output_tokens for s in done],
        )
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot = np.where(outputs > 1, (end - first) / (outputs - 1), np.nan) / PS_PER_MS
    values, weights = _token_gaps(done, logs)
    return Latencies((first - arrival) / PS_PER_MS, tpot, (end - arrival) / PS_PER_MS, values, weights)


def _token_gaps(done: list[RequestState], logs: list[StepLog]) -> tuple[Floats, Ints]:
    """Gaps between tokens of a request: between neighbouring steps mostly, longer after a preemption or
    on the way to another engine.

    A gap between two steps is shared by every sequence that had a token in both, so it is kept once
    with the number of sequences.
    """
    ends: list[Ints] = [np.asarray(log.delivered_ps, dtype=np.int64) for log in logs]
    change = [np.zeros(len(log.delivered_ps) + 1, dtype=np.int64) for log in logs]
    jumps = []
    for sequence in done:
        ranges = sequence.token_steps
        for log, first, end in ranges:
            change[log][first + 1] += 1
            change[log][end] -= 1
        # A token waits for the one before it, which may come through the busier servers of another engine.
        jumps += [max(0, int(ends[b[0]][b[1]] - ends[a[0]][a[2] - 1])) for a, b in pairwise(ranges)]
    values, weights = [np.array(jumps, dtype=np.int64)], [np.ones(len(jumps), dtype=np.int64)]
    for times, delta in zip(ends, change, strict=True):
        both = np.cumsum(delta)[1 : len(times)]
        values.append(np.diff(times)[both > 0])
        weights.append(both[both > 0])
    return np.concatenate(values) / PS_PER_MS, np.concatenate(weights)


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

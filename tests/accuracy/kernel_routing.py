"""Where tokens go in aiconfigurator's measurements of experts: the expectation of its collector's sampling, seeded.

`balanced` spreads them evenly. `power_law` draws each expert's share; with expert parallelism the busiest rank is the
one measured. Either version of the collector settles in its own way what rounding leaves over.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

DRAWS = 5


@cache
def spread(tokens: int, top_k: int, total: int, ranks: int, law: float | None, old: bool) -> tuple[float, float]:
    """(pairs, experts hit) of the measured rank."""
    pairs = tokens * top_k
    if law is None:
        return max(1.0, pairs / ranks), max(1.0, min(total, pairs) / ranks)
    random = np.random.default_rng(0)
    draws = [_draw(random, pairs, tokens, total, ranks, law, old) for _ in range(DRAWS)]
    return float(np.mean([counts.sum() for counts in draws])), float(np.mean([(counts > 0).sum() for counts in draws]))


def _draw(random: np.random.Generator, pairs: int, tokens: int, total: int, ranks: int, law: float, old: bool) -> Any:
    """Tokens of each expert of the busiest rank."""
    low, high = (1.0, tokens * 0.8) if pairs > total else (0.01, 2.0)
    power = 1 - law
    share = ((high**power - low**power) * random.random(total) + low**power) ** (1 / power)
    counts = np.round(share / share.sum() * pairs).astype(int)
    by_rank = (_settled_by_order if old else _settled_by_rank)(counts, pairs, tokens, ranks)
    return by_rank[by_rank.sum(axis=1).argmax()]


def _settled_by_order(counts: Any, pairs: int, tokens: int, ranks: int) -> Any:
    """What rounding left over goes to the largest, or where all are zero to the first ones; an expert that a token has
    twice is replaced by the first expert that it does not have, on the measured rank."""
    order, missing = np.argsort(-counts, kind="stable"), pairs - counts.sum()
    for step in range(abs(missing)):
        at = order[step % len(order)] if missing > 0 else order[-1 - step % len(order)]
        counts[at] = max(0, counts[at] + (1 if missing > 0 else -1))
    by_rank = counts.reshape(ranks, -1)
    measured = by_rank.sum(axis=1).argmax()
    twice = np.maximum(counts - tokens, 0).sum()
    by_rank = np.minimum(by_rank, tokens)
    for at in np.argsort(by_rank[measured], kind="stable")[: math.ceil(twice / tokens)]:
        more = min(twice, tokens - by_rank[measured, at])
        by_rank[measured, at] += more
        twice -= more
    return by_rank


def _settled_by_rank(counts: Any, pairs: int, tokens: int, ranks: int) -> Any:
    """No expert has a token twice; what is left over goes to the ranks in turn, to the least of each."""
    by_rank = np.minimum(counts, tokens).reshape(ranks, -1)
    missing = pairs - by_rank.sum()
    rank = 0
    while missing:
        some = by_rank[rank % ranks]
        step = max(1, abs(missing) // (ranks * len(some)))  # one at a time in the collector
        at, way = (some.argmin(), 1) if missing > 0 else (some.argmax(), -1)
        step = min(step, tokens - some[at] if way > 0 else some[at])
        some[at] += way * step
        missing -= way * step
        rank += 1
    return by_rank

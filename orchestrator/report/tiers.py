"""K and V off the devices, by tier: what result.json and timeseries.csv say of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..instruments.recorder import Amounts, TierLog
from ..kv_tiers.plan import PoolPlan
from ..simulation import Simulation
from ..units import GIB, PS_PER_MS


def tiers(simulation: Simulation) -> dict[str, Any]:
    """By tier: its pools, how full they are, hits, bytes both ways, and the time waited for them; {} without any."""
    by_tier: dict[str, list[PoolPlan]] = {}
    for plan in _plans(simulation).values():
        by_tier.setdefault(plan.tier, []).append(plan)
    found = {tier: _figures(simulation, plans) for tier, plans in by_tier.items()}
    for tier, plans in by_tier.items():
        sizes = sorted({plan.chunk_bytes for plan in plans})
        if len(sizes) > 1:  # of instances that keep a chunk in different ways
            some = [[plan for plan in plans if plan.chunk_bytes == size] for size in sizes]
            found[tier]["chunk_bytes"] = None
            found[tier]["by_chunk_bytes"] = [_figures(simulation, alike) for alike in some]
    return {"kv_tiers": found, **_sessions(simulation)} if found else {}


def _plans(simulation: Simulation) -> dict[str, PoolPlan]:
    """All pools by name, those of one tier as their users come in the scenario."""
    return {pool.name: pool for user in simulation.tiers.users.values() for pool in user.pools}


def _figures(simulation: Simulation, plans: list[PoolPlan]) -> dict[str, Any]:
    """Of pools together, whose chunks are of one size."""
    pools = [simulation.pools[plan.name] for plan in plans]
    counts = [pool.counts for pool in pools]
    return {
        "memory": list(dict.fromkeys(plan.memory for plan in plans)),
        "pools": len(pools),
        "chunks": sum(pool.size for pool in pools),
        "chunk_bytes": pools[0].chunk_bytes,
        "size_gib": math.fsum(pool.size * pool.chunk_bytes / GIB for pool in pools),
        "used_gib": math.fsum(pool.used * pool.chunk_bytes / GIB for pool in pools),
        "stored_chunks": sum(count.allocated for count in counts),
        "evicted_chunks": sum(count.freed - count.expired - count.lost for count in counts),
        "lost_chunks": sum(count.lost for count in counts),
        **({"expired_chunks": sum(count.expired for count in counts)} if plans[0].options.ttl_s else {}),
        "refused_chunks": sum(count.refused for count in counts),
        "hit_chunks": sum(count.hits for count in counts),
        "bytes_in": sum(count.bytes_in for count in counts),
        "bytes_out": sum(count.bytes_out for count in counts),
        "stall_ms": math.fsum(count.stall_ps / PS_PER_MS for count in counts),
    }


def _sessions(simulation: Simulation) -> dict[str, Any]:
    """Of turns that came back: prompt tokens that their session had before, and where the prompt was found."""
    sessions = simulation.sessions
    if not sessions.turns:
        return {}
    where = ["device", *dict.fromkeys(pool.tier for user in simulation.tiers.users.values() for pool in user.pools)]
    found = {name: sessions.found_tokens.get(name, 0) for name in where}
    return {"kv_sessions": {"turns": sessions.turns, "past_tokens": sessions.past_tokens, "found_tokens": found}}


def series(simulation: Simulation, edges: NDArray[np.int64]) -> dict[str, list[float]]:
    """Columns of the bins that end at ``edges`` (ps): of each tier the share of its bytes in use at a bin's end, and
    GB of copies that ended in it, to the tier and from it, chunks found there, and ms of waits that ended in it."""
    found: dict[str, list[float]] = {}
    plans = _plans(simulation)
    room: dict[str, int] = {}
    for plan in plans.values():
        room[plan.tier] = room.get(plan.tier, 0) + plan.chunks * plan.chunk_bytes
    for tier, size_bytes in room.items():
        log = simulation.recorder.tiers.get(tier, TierLog())
        ends = np.asarray(log.end_ps, dtype=np.int64)
        which, size = np.searchsorted(edges, ends), np.asarray(log.size, dtype=np.int64) / 1e9
        recall, pool = np.asarray(log.recall, dtype=np.int64) > 0, np.asarray(log.pool, dtype=np.int64)
        used = np.zeros(len(edges))
        for number, name in enumerate(log.pools):
            mine = pool == number
            column = np.asarray(log.used, dtype=np.int64)[mine]
            last = np.searchsorted(ends[mine], edges, side="right") - 1
            used += np.where(last >= 0, column[np.maximum(last, 0)], 0) * plans[name].chunk_bytes
        found[f"tier_{tier}_used"] = (used / size_bytes).tolist()
        for name, some in (("in", ~recall), ("out", recall)):
            found[f"tier_{tier}_{name}_gb"] = np.bincount(which[some], size[some], minlength=len(edges)).tolist()
        found[f"tier_{tier}_hits"] = _in_bins(log.hits, edges).astype(np.int64).tolist()
        found[f"tier_{tier}_stall_ms"] = (_in_bins(log.stall, edges) / PS_PER_MS).tolist()
    return found


def _in_bins(log: Amounts, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of what was at each time, by bin."""
    bins = np.searchsorted(edges, np.asarray(log.time_ps, dtype=np.int64))
    return np.bincount(bins, np.asarray(log.amount, dtype=np.int64), minlength=len(edges)).astype(np.float64)

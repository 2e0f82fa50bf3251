"""K and V off the devices, by tier: what result.json and timeseries.csv say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..instruments.recorder import TierLog
from ..simulation import Simulation
from ..units import GIB, PS_PER_MS


def tiers(simulation: Simulation) -> dict[str, Any]:
    """By tier: its pools, how full they are, hits, bytes both ways, and the time waited for them; {} without any."""
    found: dict[str, Any] = {}
    plans = {pool.name: pool for user in simulation.tiers.users.values() for pool in user.pools}
    for name, plan in plans.items():
        pool = simulation.pools[name]
        one = found.setdefault(
            plan.tier,
            {
                "memory": [],
                "pools": 0,
                "chunks": 0,
                "chunk_bytes": plan.chunk_bytes,
                "size_gib": 0.0,
                "used_gib": 0.0,
                "stored_chunks": 0,
                "evicted_chunks": 0,
                **({"expired_chunks": 0} if plan.options.ttl_s else {}),
                "refused_chunks": 0,
                "hit_chunks": 0,
                "bytes_in": 0,
                "bytes_out": 0,
                "stall_ms": 0.0,
            },
        )
        if plan.memory not in one["memory"]:
            one["memory"].append(plan.memory)
        counts = pool.counts
        for key, value in (
            ("pools", 1),
            ("chunks", pool.size),
            ("size_gib", pool.size * pool.chunk_bytes / GIB),
            ("used_gib", pool.used * pool.chunk_bytes / GIB),
            ("stored_chunks", counts.allocated),
            ("evicted_chunks", counts.freed - counts.expired),
            *((("expired_chunks", counts.expired),) if plan.options.ttl_s else ()),
            ("refused_chunks", counts.refused),
            ("hit_chunks", counts.hits),
            ("bytes_in", counts.bytes_in),
            ("bytes_out", counts.bytes_out),
            ("stall_ms", counts.stall_ps / PS_PER_MS),
        ):
            one[key] += value
    return {"kv_tiers": found, **_sessions(simulation)} if found else {}


def _sessions(simulation: Simulation) -> dict[str, Any]:
    """Of turns that came back: prompt tokens that their session had before, and where the prompt was found."""
    sessions = simulation.sessions
    if not sessions.turns:
        return {}
    where = ["device", *dict.fromkeys(pool.tier for user in simulation.tiers.users.values() for pool in user.pools)]
    found = {name: sessions.found_tokens.get(name, 0) for name in where}
    return {"kv_sessions": {"turns": sessions.turns, "past_tokens": sessions.past_tokens, "found_tokens": found}}


def series(simulation: Simulation, edges: NDArray[np.int64]) -> dict[str, list[float]]:
    """Columns of the bins that end at ``edges`` (ps): of each tier the share of its chunks in use at a bin's end, and
    GB of copies that ended in it, to the tier and from it."""
    found: dict[str, list[float]] = {}
    for tier, chunks in _chunks(simulation).items():
        log = simulation.recorder.tiers.get(tier, TierLog())
        ends = np.asarray(log.end_ps, dtype=np.int64)
        which, size = np.searchsorted(edges, ends), np.asarray(log.size, dtype=np.int64) / 1e9
        recall, pool = np.asarray(log.recall, dtype=np.int64) > 0, np.asarray(log.pool, dtype=np.int64)
        used = np.zeros(len(edges))
        for number in range(len(log.pools)):
            mine = pool == number
            column = np.asarray(log.used, dtype=np.int64)[mine]
            last = np.searchsorted(ends[mine], edges, side="right") - 1
            used += np.where(last >= 0, column[np.maximum(last, 0)], 0)
        found[f"tier_{tier}_used"] = (used / chunks).tolist()
        for name, some in (("in", ~recall), ("out", recall)):
            found[f"tier_{tier}_{name}_gb"] = np.bincount(which[some], size[some], minlength=len(edges)).tolist()
    return found


def _chunks(simulation: Simulation) -> dict[str, int]:
    """Of all pools of each tier."""
    plans = {pool.name: pool for user in simulation.tiers.users.values() for pool in user.pools}
    found: dict[str, int] = {}
    for name, plan in plans.items():
        found[plan.tier] = found.get(plan.tier, 0) + simulation.pools[name].size
    return found

"""What a scenario says of K and V off the devices and nothing came of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..instruments.ended import EndedRequests
from ..scenario.schema import Scenario
from ..serving.tiers.pool import TierPool
from .plan import TierPlan


def without_effect(
    scenario: Scenario, plan: TierPlan, pools: Mapping[str, TierPool], done: EndedRequests
) -> Iterator[str]:
    """In words, for the user, some more than once. What hangs on the requests is known when some are ``done``."""
    for instance in scenario.instances:
        backend = getattr(instance.engine, "kv_offloading_backend", "native")
        if backend != "native" and not getattr(instance.engine, "kv_offloading_size", None):
            yield f"engine.kv_offloading_backend {backend} has no effect without a kv_offloading_size"
    if not done or not pools:
        return
    tiers = [] if scenario.kv_offloading is None else scenario.kv_offloading.tiers
    pinned = [i for i, tier in enumerate(tiers) if tier.pin_sessions]
    if pinned and not done.turns:
        for i in pinned:
            yield f"kv_offloading.tiers.{i}.pin_sessions has no effect: no request is followed by a turn of its session"
    by_session = [i for i, tier in enumerate(tiers) if tier.eviction == "session"]
    if by_session and not done.sessions:
        for i in by_session:
            yield f"kv_offloading.tiers.{i}.eviction session goes by request: none is of a session"
    longest = int((done.column("input_tokens") + done.column("output_tokens")).max())
    chunk = min(user.chunk_tokens for user in plan.users.values())
    if longest < chunk:
        yield f"K and V tiers have no effect: a chunk has {chunk:,} tokens, the longest request {longest:,}"

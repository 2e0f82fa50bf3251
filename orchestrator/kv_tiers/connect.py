"""Pools of a plan, and a connector for every replica that uses some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..serving.hooks import ServingHooks
from ..serving.interface import KvTransfer
from ..serving.replica import Replica
from ..serving.tiers.connector import OffloadingConnector, Rules, Tier
from ..serving.tiers.eviction import make_eviction
from ..serving.tiers.pool import TierPool
from ..serving.tiers.sessions import Sessions
from ..units import PS_PER_S
from .plan import PoolPlan, TierPlan


class KernelTimer:
    """As `serving.tiers.moves.Timer`; ``rank`` is that of the replica's place in the order of events."""

    def __init__(self, kernel: Kernel, rank: int, number: int) -> None:
        self._kernel, self._rank, self._number = kernel, rank, number

    @property
    def now_ps(self) -> int:
        return self._kernel.now_ps

    def later(self, when_ps: int, act: Callable[[], None]) -> None:
        self._kernel.at(when_ps, Priority.COMPLETION, self._rank, "recall", self._number, act)


def connect(
    plan: TierPlan,
    replicas: Sequence[Replica],
    transfer: KvTransfer,
    kernel: Kernel,
    rank: int,
    hooks: ServingHooks,
    sessions: Sessions,
) -> Mapping[str, TierPool]:
    """The pools by name; each engine that uses some has a connector to them. ``rank``: events of recalls come there.

    Raises InputError for an eviction policy that is none.
    """
    pools: dict[str, TierPool] = {}
    for replica in replicas:
        user = plan.users.get(replica.name)
        if user is None:
            continue
        tiers = [_tier(pools, one, kernel) for one in user.pools]
        rules = Rules(
            user.rules.blocks(replica.engine.block_size), user.rules.way, user.rules.backend == "native", user.layers
        )
        timer = KernelTimer(kernel, rank, replica.number)
        replica.engine.connector = OffloadingConnector(replica, tiers, transfer, rules, timer, hooks, sessions)
    return pools


def _tier(pools: dict[str, TierPool], plan: PoolPlan, kernel: Kernel) -> Tier:
    """As one replica uses it; its pool is made for the first."""
    options = plan.options
    if plan.name not in pools:
        policy = make_eviction(f"{plan.where}.eviction", options.eviction)
        ttl_ps = round((options.ttl_s or 0) * PS_PER_S)
        pools[plan.name] = TierPool(
            plan.name, plan.chunks, plan.chunk_bytes, policy, options.store_threshold, ttl_ps, kernel
        )
    return Tier(
        plan.tier, pools[plan.name], options.write == "back", options.pin_sessions, options.shared_by == "instance"
    )

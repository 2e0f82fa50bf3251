"""How many replicas there should be, by what was seen of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Protocol

from ...errors import InputError
from ..own import make_own

TOLERANCE = 0.1  # Kubernetes' horizontal-pod-autoscaler-tolerance


@dataclass(frozen=True, slots=True)
class PoolView:
    """What a policy sees of one pool of replicas.

    Attributes:
        now_ps: the time.
        serving, starting: replicas that take requests, and that soon will.
        waiting, running: requests on those that serve.
        kv_use: mean share of their KV blocks in use.
        ttft_ms: times to first token of requests that ended since the last look.
        ttft_limit_ms: the scenario's slo.ttft_ms.
    """

    now_ps: int
    serving: int
    starting: int
    waiting: int
    running: int
    kv_use: float
    ttft_ms: tuple[float, ...]
    ttft_limit_ms: float | None


class ScalingPolicy(Protocol):
    """Says how many replicas there should be; bounds and patience are the autoscaler's."""

    def desired(self, pool: PoolView) -> int: ...


def proportional(current: int, metric: float, target: float) -> int:
    """``ceil(current x metric / target)``, unless that is nearly as many: Kubernetes' horizontal pod autoscaler
    (kubernetes.io, "Horizontal Pod Autoscaling", algorithm details)."""
    ratio = metric / target
    return current if abs(ratio - 1) <= TOLERANCE else ceil(current * ratio)


class ByQueue:
    """As many that ``target`` requests wait for each."""

    def __init__(self, target: float) -> None:
        self._target = target

    def desired(self, pool: PoolView) -> int:
        return proportional(pool.serving, pool.waiting / max(1, pool.serving), self._target)


class ByKv:
    """As many that ``target`` of the KV blocks of each are in use."""

    def __init__(self, target: float) -> None:
        self._target = target

    def desired(self, pool: PoolView) -> int:
        return proportional(pool.serving, pool.kv_use, self._target)


class BySlo:
    """One more where fewer than ``target`` of the requests that ended met the TTFT limit; one fewer where all did, in
    half of it."""

    def __init__(self, target: float) -> None:
        self._target = target

    def desired(self, pool: PoolView) -> int:
        limit = pool.ttft_limit_ms
        if limit is None or not pool.ttft_ms:
            return pool.serving + pool.starting
        met = sum(time <= limit for time in pool.ttft_ms) / len(pool.ttft_ms)
        if met < self._target:
            return pool.serving + 1  # those that start count: not one more with every look
        return pool.serving - 1 if max(pool.ttft_ms) <= limit / 2 else pool.serving


POLICIES: dict[str, Callable[[float], ScalingPolicy]] = {"queue": ByQueue, "kv": ByKv, "slo": BySlo}


def make_policy(where: str, policy: str, target: float | None, ttft_limit_ms: float | None) -> ScalingPolicy:
    """Raises InputError."""
    if policy in POLICIES:
        if policy == "slo" and ttft_limit_ms is None:
            raise InputError("scenario", f"{where}.policy", policy, "needs slo.ttft_ms")
        return POLICIES[policy](target or 0)
    if target is not None and ":" in policy:
        raise InputError("scenario", f"{where}.target", target, "is of the policies queue, kv and slo")
    made: ScalingPolicy = make_own(f"{where}.policy", policy, list(POLICIES), "desired(pool)")
    return made

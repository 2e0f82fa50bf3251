"""Which instance gets a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..workload.request import Request
from .engine import Engine


class Router(Protocol):
    """Chooses among the instances, given in the scenario's order."""

    def choose(self, request: Request, engines: Sequence[Engine]) -> Engine: ...


class RoundRobin:
    """Each in turn."""

    def __init__(self) -> None:
        self._next = 0

    def choose(self, request: Request, engines: Sequence[Engine]) -> Engine:
        engine = engines[self._next % len(engines)]
        self._next += 1
        return engine


class Random:
    """Any, with equal chance, from the router's own random stream."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def choose(self, request: Request, engines: Sequence[Engine]) -> Engine:
        return engines[int(self._random.integers(len(engines)))]


class LeastLoaded:
    """The least 4 x waiting + running, the score of vLLM's data-parallel balancer; ties to the first."""

    def choose(self, request: Request, engines: Sequence[Engine]) -> Engine:
        return min(engines, key=_score)


def _score(engine: Engine) -> int:
    waiting, running = engine.load
    return 4 * waiting + running


POLICIES = ("round-robin", "random", "least-loaded")


def make_router(policy: str, random: np.random.Generator) -> Router:
    """The router of that name; the scenario's schema has checked it."""
    if policy == "random":
        return Random(random)
    return RoundRobin() if policy == "round-robin" else LeastLoaded()

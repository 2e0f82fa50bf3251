"""Which replica gets a request.

With prefill and decode apart a router is asked twice: for the replica that computes the prompt, then
for the one that decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..errors import BadAnswer, InputError
from ..units import PS_PER_MS
from ..workload.request import Request
from .coordinator import Coordinator, FlightCounting, FrontEnd
from .interface import Role
from .looking_ahead import LOOKING_AHEAD
from .own import make_own
from .replica import Replica


class Router(Protocol):
    """Chooses among the replicas that can take a request, given in the scenario's order."""

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica: ...


def choose(router: Router, request: Request, replicas: Sequence[Replica]) -> Replica:
    """What a router chooses. Raises BadAnswer for anything but one of these."""
    chosen = router.choose(request, replicas)
    if not isinstance(chosen, Replica) or chosen not in replicas:
        raise BadAnswer(router, "choose", chosen, f"one of the {len(replicas)} replicas it was given")
    return chosen


class RoundRobin:
    """Each in turn; where prompts and decoding are apart, in turn among those of each role."""

    def __init__(self) -> None:
        self._next: dict[Role, int] = {}

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        role = replicas[0].role
        turn = self._next.get(role, 0)
        self._next[role] = turn + 1
        return replicas[turn % len(replicas)]


class Random:
    """Any, with equal chance, from the router's own random stream."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        return replicas[int(self._random.integers(len(replicas)))]


class LeastLoaded:
    """The least 4 x waiting + running, the score of vLLM's data-parallel balancer; ties to the first."""

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        return min(replicas, key=score)


def score(replica: Replica) -> int:
    waiting, running = replica.load
    return 4 * waiting + running


class PrefixAware:
    """The longest cached prefix, as long as that replica is not much busier than the least busy.

    A request goes to the replica with most of its prompt in the cache if that is at least a tenth of
    it and the replica's score is within ``slack`` of the lowest; else to the least loaded.
    """

    def __init__(self, slack: int = 32) -> None:
        self._slack = slack

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        lowest = min(map(score, replicas))
        near = [replica for replica in replicas if score(replica) <= lowest + self._slack]
        hits = [replica.cached_tokens(request) for replica in near]
        if max(hits) * 10 < request.input_tokens:
            return min(replicas, key=score)
        return max(zip(near, hits, strict=True), key=lambda pair: (pair[1], -score(pair[0])))[0]


class SessionAffinity:
    """A session's later turns go where its first went; sessions go to the least loaded."""

    def __init__(self) -> None:
        self._home: dict[tuple[str, Role], Replica] = {}

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        if request.session is None:
            return min(replicas, key=score)
        key = (request.session, replicas[0].role)
        if self._home.get(key) not in replicas:
            self._home[key] = min(replicas, key=score)
        return self._home[key]


class PrefillDecodeAware:
    """A prompt to the replica with fewest prompt tokens before it, decoding to the one with most free KV."""

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        if replicas[0].role is Role.DECODE:
            return min(replicas, key=lambda r: (r.load[0], r.kv_use))
        return min(replicas, key=lambda r: (r.queued_tokens, score(r)))


class InternalLb:
    """vLLM's own balancing among the data-parallel ranks of one instance: as `LeastLoaded`, but of the counts that were
    published last, and of what an API server has sent since (`coordinator.py`); in 0.33 also of what it knows to be on
    its way, and of KV caches."""

    def __init__(self) -> None:
        self._servers: list[FrontEnd] = []
        self._coordinator = Coordinator(0)
        self._ranks: dict[int, int] = {}  # by the replica's number
        self._told: dict[int, tuple[int, int]] = {}  # by rank
        self._sent: dict[int, tuple[FrontEnd, int]] = {}  # by request: by whom, to which rank

    def choose(self, request: Request, replicas: Sequence[Replica]) -> Replica:
        now_ms, servers = request.arrival_ps // PS_PER_MS, replicas[0].servers
        count = max(1, servers.count)
        if not self._servers:
            kind, idle = (FlightCounting, (0, 0, 0)) if servers.counts_in_flight else (FrontEnd, (0, 0))
            self._coordinator = Coordinator(len(replicas), now_ms, idle=idle)
            self._servers = [kind(self._coordinator, index, count) for index in range(count)]
            self._ranks = {replica.number: rank for rank, replica in enumerate(replicas)}
        server = self._servers[servers.requests % count]
        rank = server.choose(now_ms)
        if servers.counts_in_flight:
            self._sent[request.id] = server, rank
        return replicas[rank]

    def tell(self, replica: Replica, now_ps: int, step: int, counts: tuple[int, int], lockstep: bool = True) -> None:
        """A rank's requests, waiting and running, after a step; vLLM's tells what has changed. ``lockstep``: all ranks
        took the step together."""
        rank = self._ranks.get(replica.number)
        if rank is not None and self._told.get(rank, (0, 0)) != counts:
            self._told[rank] = counts
            self._coordinator.lockstep = lockstep
            said = (*counts, replica.kv_use) if replica.servers.counts_in_flight else counts
            self._coordinator.tell(now_ps // PS_PER_MS, rank, step, said)

    def over(self, request: int) -> None:
        """Nobody serves that request any more."""
        if sent := self._sent.pop(request, None):
            server, rank = sent
            server.ended(rank)


POLICIES = (
    "least-loaded",
    "internal-lb",
    "round-robin",
    "random",
    "prefix-aware",
    "session",
    "pd-aware",
    *LOOKING_AHEAD,
)


def make_router(policy: str, random: np.random.Generator) -> Router:
    """The router of that name, or the user's own ``module:Class``. Raises InputError, also for one that looks ahead:
    `looking_ahead` makes those."""
    if policy in LOOKING_AHEAD:
        allowed = "needs what every replica takes, which is asked before a run whose scenario names it"
        raise InputError("scenario", "router.policy", policy, allowed)
    if policy == "random":
        return Random(random)
    simple: dict[str, type[Router]] = {
        "round-robin": RoundRobin,
        "least-loaded": LeastLoaded,
        "internal-lb": InternalLb,
        "prefix-aware": PrefixAware,
        "session": SessionAffinity,
        "pd-aware": PrefillDecodeAware,
    }
    if policy in simple:
        return simple[policy]()
    made: Router = make_own("router.policy", policy, POLICIES, "choose(request, replicas)")
    return made

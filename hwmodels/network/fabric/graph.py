"""Devices, switches and the links between them, and the shortest ways across.

Where several ways are equally short, the destination chooses (its place among devices modulo how many):
the rule of fat trees, which spreads both permutations and all-to-alls evenly (Leiserson 1985; Zahavi,
"D-Mod-K routing", 2010). Deterministic, so a route never depends on what else is going on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
FAR = 1 << 30


@dataclass(frozen=True, slots=True)
class Edge:
    """One direction between two nodes; ``cost`` is what shortest paths minimise."""

    name: str
    tail: int
    head: int
    bytes_per_s: float
    latency_ps: int
    cost: int


@dataclass(frozen=True, slots=True)
class Routes:
    """The ways of many flows: entry i says that flow ``flow[i]`` crosses link ``link[i]``."""

    flows: int
    flow: Ints
    link: Ints


class Graph:
    """Built once by the topologies; nodes and links are numbered in the order they are added."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.links: list[Edge] = []
        self._ordinals: dict[int, int] = {}  # of devices, in the order they were added

    def device(self, name: str) -> int:
        """As :meth:`node`, for what sends and receives."""
        number = self.node(name)
        self._ordinals.setdefault(number, len(self._ordinals))
        return number

    def node(self, name: str) -> int:
        """The number of that node, which is added if new."""
        if name not in self.index:
            self.index[name] = len(self.names)
            self.names.append(name)
        return self.index[name]

    def connect(self, a: str, b: str, bytes_per_s: float, latency_ps: int, cost: int = 1) -> None:
        """A pair of links, one each way."""
        for tail, head in ((a, b), (b, a)):
            self.arrow(tail, head, bytes_per_s, latency_ps, cost)

    def arrow(self, tail: str, head: str, bytes_per_s: float, latency_ps: int, cost: int = 1) -> None:
        """One link."""
        self.links.append(Edge(f"{tail}->{head}", self.node(tail), self.node(head), bytes_per_s, latency_ps, cost))

    @cached_property
    def _by_tail(self) -> tuple[Ints, Ints, Ints, NDArray[np.int32], Ints]:
        """(link numbers sorted by tail, their tails, heads and costs, where each tail's links begin)."""
        tails = np.array([link.tail for link in self.links])
        order = np.argsort(tails, kind="stable")
        heads = np.array([link.head for link in self.links])[order]
        costs = np.array([link.cost for link in self.links], dtype=np.int32)[order]
        return order, tails[order], heads, costs, np.searchsorted(tails[order], np.arange(len(self.names) + 1))

    def routes(self, sources: Ints, targets: Ints) -> Routes:
        """The way of each flow from ``sources[i]`` to ``targets[i]``. Raises ValueError if there is none."""
        ends, column = np.unique(targets, return_inverse=True)
        cost = self._costs(ends)
        if (cost[sources, column] >= FAR).any():
            lost = int(np.argmax(cost[sources, column] >= FAR))
            raise ValueError(f"no way from {self.names[sources[lost]]} to {self.names[targets[lost]]}")
        order, _, heads, costs, starts = self._by_tail
        ordinals = np.array([self._ordinals[end] for end in ends.tolist()])[column]
        here = sources.copy()
        flows: list[Ints] = []
        links: list[Ints] = []
        while True:
            moving = np.flatnonzero(here != targets)
            if not len(moving):
                break
            moving = moving[np.argsort(here[moving], kind="stable")]
            for who in np.split(moving, np.flatnonzero(np.diff(here[moving])) + 1):
                node = here[who[0]]
                out = np.arange(starts[node], starts[node + 1])
                ok = cost[heads[out]][:, column[who]] + costs[out][:, None] == cost[node, column[who]]
                many = ok.sum(axis=0, dtype=np.int32)
                if many.max() == 1:
                    chosen = out[ok.argmax(axis=0)]
                else:
                    chosen = out[np.argmax(np.cumsum(ok, axis=0, dtype=np.int32) > ordinals[who] % many, axis=0)]
                flows.append(who)
                links.append(order[chosen])
                here[who] = heads[chosen]
        if not flows:
            return Routes(len(sources), np.array([], dtype=np.int64), np.array([], dtype=np.int64))
        return Routes(len(sources), np.concatenate(flows), np.concatenate(links))

    def _costs(self, ends: Ints) -> NDArray[np.int32]:
        """cost[node, i] of the shortest way from a node to ``ends[i]`` (Bellman-Ford over all at once)."""
        _, tails, heads, costs, starts = self._by_tail
        cost = np.full((len(self.names), len(ends)), FAR, dtype=np.int32)
        cost[ends, np.arange(len(ends))] = 0
        outs = np.unique(tails)
        while True:
            better = np.minimum(cost[outs], np.minimum.reduceat(cost[heads] + costs[:, None], starts[outs], axis=0))
            if (better == cost[outs]).all():
                return cost
            cost[outs] = better

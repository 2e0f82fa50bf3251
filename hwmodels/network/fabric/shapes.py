"""What an operation looks like on a given graph: which links it loads and how long it waits first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from ...catalog import PeerAccess
from ...interface import PS_PER_NS
from .collectives import Pattern, by_name_only, direct, patterns, peer_reads
from .links import bits_of
from .memories import attach
from .sharing import alone
from .topology import NEAR, Memory, Tier, build
from .torus import torus


@dataclass(frozen=True, slots=True)
class Shape:
    """An algorithm over the graph, per byte of the operation.

    ``weights``: of each link, in units of the largest flow; ``largest``: that flow's bytes per byte;
    ``moved``: bytes over all flows per byte. Latencies in ps: low-latency protocol, full-rate protocol.
    """

    algorithm: str
    weights: dict[int, float]
    largest: float
    moved: float
    low_ps: int
    bulk_ps: int
    rate: float  # bytes/s of the largest flow, alone
    low_rate: float
    copy_s: float  # seconds per byte
    most: float = inf  # bytes up to which it is used
    bits: int = field(init=False, repr=False, compare=False)  # links with a weight

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", bits_of(self.weights))


class Topology:
    """The graph of one configuration and its two tiers (within nodes or flat; between nodes).

    Raises ValueError for a layout that cannot be.
    """

    def __init__(
        self,
        groups: list[tuple[str, int]],
        inner: Tier,
        outer: Tier | None,
        custom_all_reduce: bool = True,
        memories: Sequence[Memory] = (),
    ) -> None:
        self.inner, self.outer = inner, outer
        self._places, self._sizes = _places(groups, inner, outer is None)
        self._peer_access = inner.link.peer_access if custom_all_reduce else None
        self.graph = build(groups, inner, outer, shared_lanes=bool(memories))
        self.cores = {core.name: core for core in attach(self.graph, groups, memories, inner, outer)}
        self.capacity = [link.bytes_per_s for link in self.graph.links]

    def shapes(self, kind: str, ranks: list[str], wanted: str = "") -> list[Shape]:
        """Every algorithm for a kind among these devices, or the one ``wanted``. Raises ValueError."""
        nodes = [rank.rpartition(".")[0] for rank in ranks]
        places = {node: i for i, node in enumerate(dict.fromkeys(nodes))}
        # A flat network has no nodes to tell apart.
        spread = [places[node] for node in nodes] if self.outer else [0] * len(ranks)
        away = len(set(spread)) > 1
        found = [self._shape(p, ranks, away) for p in patterns(kind, len(ranks), spread)]
        if not self.cores.keys().isdisjoint(ranks):
            if kind != "send":
                raise ValueError("memories send and receive, and take part in nothing else")
            return [self._through_cores(shape) for shape in found]
        if not away and (rings := torus(kind, [self._places[rank] for rank in ranks], self._rings(ranks))):
            found.append(self._shape(rings, ranks, away))
        if not away and self.inner.topology == "fully-connected" and (all_links := direct(kind, len(ranks))):
            found.append(self._shape(all_links, ranks, away))
        if kind == "all_reduce" and not away:
            sharp = self._in_network(ranks)
            found += [sharp] if sharp else []
            peers = self._peer_access
            if peers and len(ranks) <= peers.most_ranks and len(ranks) % 2 == 0:
                found += [self._peer_reads(p, ranks, peers) for p in peer_reads(len(ranks))]
        if not wanted:
            return found
        if not away:
            found += [self._shape(p, ranks, away) for p in by_name_only(kind, len(ranks), self._switches(ranks))]
        insisted = [replace(shape, most=inf) for shape in found if shape.algorithm == wanted]
        if not insisted:
            can = ", ".join(dict.fromkeys(shape.algorithm for shape in found))
            raise ValueError(f"there is no algorithm '{wanted}' for {kind} among these devices; there are {can}")
        return insisted

    def _rings(self, ranks: list[str]) -> list[bool] | None:
        """Of each axis whether these devices are a ring of links to neighbours alone; None where links are others."""
        if self.inner.link.torus is None:
            return None
        devices = self._sizes[ranks[0]]
        axes = zip(*(self._places[rank] for rank in ranks), strict=True)
        dims, rings = self.inner.along(devices), self.inner.rings(devices)
        return [ring and len(set(axis)) == size for axis, size, ring in zip(axes, dims, rings, strict=True)]

    def _switches(self, ranks: list[str]) -> list[int]:
        """Of each device the switch that it shares with another of its pair: all the same, but on PCIe."""
        return [int(rank.rpartition(".")[2]) // 2 if self.inner.topology == "pcie" else 0 for rank in ranks]

    def _shape(self, pattern: Pattern, ranks: list[str], away: bool) -> Shape:
        tier = self.outer if away and self.outer else self.inner
        numbers = np.array([self.graph.index[rank] for rank in ranks])
        routes = self.graph.routes(numbers[pattern.source], numbers[pattern.target])
        latency = np.array([link.latency_ps for link in self.graph.links])
        step = int(np.bincount(routes.flow, latency[routes.link], routes.flows).max())
        loads = np.bincount(routes.link, pattern.share[routes.flow], len(self.capacity))
        largest = float(pattern.share.max())
        weights = {int(link): float(loads[link]) / largest for link in np.flatnonzero(loads)}
        link = tier.link
        extra = round((link.bulk_hop_ns - link.hop_ns) * PS_PER_NS)
        launch = round(link.launch_ns * PS_PER_NS)
        # A single transfer has no ring of ranks to fill before it runs at full rate.
        fill = 0 if pattern.algorithm == "send" else round(link.bulk_launch_ns * PS_PER_NS)
        rate = alone(weights, self.capacity)
        return Shape(
            algorithm=pattern.algorithm,
            weights=weights,
            largest=largest,
            moved=float(pattern.share.sum()),
            low_ps=launch + round(pattern.steps * step),
            bulk_ps=launch + fill + round(pattern.steps * (step + extra)),
            rate=rate,
            low_rate=rate * link.low_latency_share,
            copy_s=pattern.copied / self.inner.link.local_copy if self.inner.link.local_copy else 0.0,
        )

    def _through_cores(self, shape: Shape) -> Shape:
        """A copy from or to memories: no protocol of a collective library, and both ways share a memory's core."""
        weights = dict(shape.weights)
        for core in self.cores.values():
            if load := weights.get(core.read, 0.0) + weights.get(core.write, 0.0):
                weights[core.core] = load
        return replace(
            shape, weights=weights, rate=alone(weights, self.capacity), low_rate=0.0, bulk_ps=shape.low_ps, copy_s=0.0
        )

    def _peer_reads(self, pattern: Pattern, ranks: list[str], peers: PeerAccess) -> Shape:
        shape = self._shape(pattern, ranks, False)
        ps = round(pattern.steps * peers.step_ns * PS_PER_NS)
        rate = min(shape.rate, peers.bandwidth / (len(ranks) - 1))
        return replace(shape, low_ps=ps, bulk_ps=ps, rate=rate, low_rate=0.0, most=peers.most_bytes)

    def _in_network(self, ranks: list[str]) -> Shape | None:
        """All-reduce inside the switch: every rank sends its bytes up and gets the sums down."""
        if self.inner.link.in_network is None or self.inner.topology != "switch" or len(ranks) < 3:
            return None
        rate, latency_ns = self.inner.link.in_network
        numbers = [self.graph.index[rank] for rank in ranks]
        links = [
            i for i, link in enumerate(self.graph.links) if link.cost == NEAR and {link.tail, link.head} & set(numbers)
        ]
        rate = min(rate, min(self.capacity[i] for i in links))
        ps = round((self.inner.link.launch_ns + latency_ns) * PS_PER_NS)
        return Shape("in-network", dict.fromkeys(links, 1.0), 1.0, 2.0 * len(ranks), ps, ps, rate, 0.0, 0.0)


def _places(
    groups: list[tuple[str, int]], inner: Tier, flat: bool
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Device -> its place in its torus (one of all devices, or one a node), and how many devices that has."""
    devices = [[f"{name}.{i}" for i in range(count)] for name, count in groups]
    if flat:
        devices = [[device for group in devices for device in group]]
    places = {device: inner.place(i, len(group)) for group in devices for i, device in enumerate(group)}
    return places, {device: len(group) for group in devices for device in group}

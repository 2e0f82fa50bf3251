"""Memories as endpoints: what they reach devices through, and what limits them.

A memory has a way out (reads), a way in (writes), and behind both one *core* whose bandwidth they share: of a memory
bus all of it, of an expander on a full-duplex link less than both ways together. On topology ``switch`` it
hangs on the switch. On ``pcie`` it lies behind the host bridge: its bytes pass the link from there to the switch of a
pair of devices, then the device's own lanes, which all that the device sends and receives passes, too.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ...interface import PS_PER_NS
from .graph import Graph
from .topology import AWAY, NEAR, Memory, Tier, lanes

DETOUR = 3  # cost of the way through the host: between devices the others are always shorter


class Misfit(ValueError):
    """Links between nodes have no place for a memory."""


@dataclass(frozen=True, slots=True)
class Core:
    """Of one memory: its links by number, and how its latency rises under load."""

    name: str
    read: int
    write: int
    core: int
    rises: LoadedLatency | None


class LoadedLatency:
    """Latency by share of reads and bandwidth, linear between the points of a curve, constant beyond them.

    ``rows``: (share of reads 0..1, bytes/s, ns).
    """

    def __init__(self, rows: Sequence[tuple[float, float, float]]) -> None:
        by_share = groupby(sorted(rows), key=lambda row: row[0])
        self._curves = [(share, [(rate, ns) for _, rate, ns in some]) for share, some in by_share]

    def added_ns(self, reads: float, rate: float) -> float:
        """What that load adds to the latency of an idle memory. ``reads``: share of reads in ``rate`` bytes/s."""
        return self._at(reads, rate) - self._at(reads, 0.0)

    def _at(self, reads: float, rate: float) -> float:
        return _between([(share, _between(curve, rate)) for share, curve in self._curves], reads)


def _between(points: Sequence[tuple[float, float]], x: float) -> float:
    i = bisect_right(points, (x, float("inf")))
    if i == 0:
        return points[0][1]
    if i == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[i - 1], points[i]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def attach(
    graph: Graph, groups: Sequence[tuple[str, int]], memories: Sequence[Memory], inner: Tier, outer: Tier | None
) -> list[Core]:
    """Puts the memories on the graph of these node groups. Raises ValueError where the layout has no place for one."""
    if not memories:
        return []
    if inner.topology not in ("switch", "pcie"):
        raise ValueError(f"memories ({memories[0].name}) go with topology switch or pcie")
    if inner.topology == "pcie" and outer is None and len(groups) > 1:
        raise ValueError(f"with memories ({memories[0].name}) pcie is within one node: several need scale_out")
    for name, count in groups:
        port = _within(name, groups, inner, outer)
        if inner.topology == "pcie":
            _host(graph, name, count, inner)
        elif port not in graph.index or outer is None:  # a single device has needed no switch so far
            _switched(graph, name, count, port, inner)
        for nic in [nic for nic in graph.index if nic.startswith(f"{name}.nic")] if outer else []:
            graph.connect(port, nic, max(outer.link.bandwidth, 64e9) if outer else 0.0, 0, AWAY)
    return [_memory(graph, one, _port(one, groups, graph, inner, outer)) for one in memories]


def _within(name: str, groups: Sequence[tuple[str, int]], inner: Tier, outer: Tier | None) -> str:
    """What memories of a node hang on."""
    if inner.topology == "pcie":
        return f"{name}.host"
    return "switch" if outer is None and len(groups) > 1 else f"{name}.switch"


def _switched(graph: Graph, name: str, count: int, switch: str, tier: Tier) -> None:
    """Devices to a switch, where they are not on it."""
    there = {(link.tail, link.head) for link in graph.links}
    for i in range(count):
        if (graph.node(f"{name}.{i}"), graph.node(switch)) not in there:
            graph.connect(f"{name}.{i}", switch, tier.link.bandwidth, round(tier.link.hop_ns * PS_PER_NS) // 2)


def _host(graph: Graph, name: str, count: int, tier: Tier) -> None:
    """The way from the bridge to each device's lanes: a switch's uplink, then the switch."""
    rate, hop = tier.link.host_bandwidth or tier.link.bandwidth, round(tier.link.hop_ns * PS_PER_NS)
    for i in range(count):
        uplink = f"{name}.pcie{i // 2}.uplink"
        if i % 2 == 0:
            graph.connect(f"{name}.host", uplink, rate, hop // 2, DETOUR)
        graph.connect(uplink, lanes(graph, f"{name}.{i}", tier), rate, hop // 2, DETOUR)


def _port(memory: Memory, groups: Sequence[tuple[str, int]], graph: Graph, inner: Tier, outer: Tier | None) -> str:
    """What it hangs on."""
    node, dot, _ = memory.name.rpartition(".")
    nodes = [name for name, _ in groups]
    if dot and node not in nodes:
        raise ValueError(f"{memory.name} is a memory of {node}, none of whose devices it connects")
    if not dot and outer is not None:
        if "switch" not in graph.index:
            raise Misfit(f"{memory.name}, of no node, goes with scale_out.topology switch")
        return "switch"
    return _within(node or nodes[0], groups, inner, outer)


def _memory(graph: Graph, memory: Memory, port: str) -> Core:
    name, latency = memory.name, round(memory.latency_ns * PS_PER_NS)
    graph.device(name)
    first, cost = len(graph.links), AWAY if "." not in name else NEAR
    graph.arrow(name, port, memory.read, latency, cost)
    graph.arrow(port, name, memory.write, latency, cost)
    graph.arrow(name, name, memory.both, 0, cost)
    rises = LoadedLatency(memory.loaded_latency) if memory.loaded_latency else None
    return Core(name, first, first + 1, first + 2, rises)

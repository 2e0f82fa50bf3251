"""From the words of a scenario (how devices and nodes are connected) to a graph.

Within a node: ``switch`` (NVSwitch, or any non-blocking switch), ``ring``, ``fully-connected``,
``torus``, ``pcie`` (pairs of devices behind a switch, which meet at the host bridge). Between nodes:
``switch``, ``fat-tree`` (leaves of ``radix`` adapters under enough spines), ``rail-optimised`` (adapter
i of every node on switch i). A device's bandwidth is split evenly over its links: as many as there are
others, or, of an interconnect that has more of them (`Interconnect.links`), as many as it has. Of links to neighbours
alone (`Interconnect.torus`) an axis too short to be a ring is a line, and a torus has the shape of the slice there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod

from ...catalog import Interconnect
from ...interface import PS_PER_NS
from .graph import Graph

NEAR, AWAY = 1, 10  # costs: a way through the node's own links is always shorter than one through adapters


@dataclass(frozen=True, slots=True)
class Tier:
    """One level of the network: its links and how they are laid out."""

    link: Interconnect
    topology: str
    dims: tuple[int, ...] = ()  # torus
    nics_per_node: int = 0  # between nodes; 0 = one a device
    radix: int = 32  # fat tree: adapters a leaf
    oversubscription: float = 1  # fat tree: bandwidth below a leaf over that above

    def along(self, devices: int) -> tuple[int, ...]:
        """Devices along each axis of the torus of so many; a ring is a torus of one axis. No axes in other layouts."""
        if self.topology == "ring":
            return (devices,)
        usual = self.link.torus.shape(devices) if self.link.torus else ()
        return (self.dims or usual) if self.topology == "torus" else ()

    def rings(self, devices: int) -> tuple[bool, ...]:
        """Of each of these axes whether its ends are joined."""
        dims = self.along(devices)
        return self.link.torus.rings(dims) if self.link.torus else (True,) * len(dims)

    def place(self, number: int, devices: int) -> tuple[int, ...]:
        """Of a device in that torus."""
        found: list[int] = []
        for size in reversed(self.along(devices)):
            number, along = divmod(number, size)
            found.insert(0, along)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory that sends and receives: bytes/s out of it, into it and both together, ns of an access; under load ns by
    (share of reads, bytes/s). NODE.kind of a node, or a name without a dot."""

    name: str
    read: float
    write: float
    both: float
    latency_ns: float
    loaded_latency: tuple[tuple[float, float, float], ...] = ()


def build(groups: list[tuple[str, int]], inner: Tier, outer: Tier | None, shared_lanes: bool = False) -> Graph:
    """The graph of node groups (name, devices): one flat layout, or one a node and one between nodes.

    With ``shared_lanes`` all that a device on PCIe sends and receives passes the same lanes (`memories`).
    Raises ValueError with what is wrong.
    """
    graph = Graph()
    if outer is None:
        devices = [f"{name}.{i}" for name, count in groups for i in range(count)]
        _lay_out(graph, "" if len(groups) > 1 else groups[0][0], devices, inner, shared_lanes)
        return graph
    for name, count in groups:
        _lay_out(graph, name, [f"{name}.{i}" for i in range(count)], inner, shared_lanes)
    _between(graph, groups, outer)
    return graph


def _lay_out(graph: Graph, name: str, devices: list[str], tier: Tier, shared_lanes: bool) -> None:
    rate, hop = tier.link.bandwidth, round(tier.link.hop_ns * PS_PER_NS)
    for device in devices:
        graph.device(device)
    if len(devices) == 1:
        return
    prefix = f"{name}." if name else ""
    if tier.topology == "switch":
        for device in devices:
            graph.connect(device, f"{prefix}switch", rate, hop // 2)
    elif tier.topology == "pcie":
        _pcie(graph, prefix, [lanes(graph, d, tier) if shared_lanes else d for d in devices], tier, hop)
    elif tier.topology == "fully-connected":
        if tier.link.links and len(devices) > tier.link.links + 1:
            raise ValueError(f"a device has {tier.link.links} links of {tier.link.name}, and {len(devices) - 1} others")
        for i, device in enumerate(devices):
            for other in devices[i + 1 :]:
                graph.connect(device, other, rate / max(len(devices) - 1, tier.link.links or 0), hop)
    else:
        dims = tier.along(len(devices))
        if not dims:
            raise ValueError("a torus needs dims, the devices along each of its dimensions")
        if prod(dims) != len(devices):
            raise ValueError(f"a torus of {' x '.join(map(str, dims))} has {prod(dims)} devices, not {len(devices)}")
        used = sum(min(size - 1, 2) for size in dims)
        if tier.link.torus and used > (tier.link.links or 0):
            raise ValueError(f"a device has {tier.link.links} links of {tier.link.name}, and {used} neighbours")
        rate = tier.link.bandwidth / max(used, tier.link.links or 0)
        _torus(graph, devices, dims, tier.rings(len(devices)), rate, hop)


def _torus(
    graph: Graph, devices: list[str], dims: tuple[int, ...], rings: tuple[bool, ...], rate: float, hop: int
) -> None:
    """Two neighbours a dimension, but at the ends of one that is no ring; a ring is a torus of one."""
    places = list(product(*map(range, dims)))
    number = {place: i for i, place in enumerate(places)}
    for place in places:
        for axis, size in enumerate(dims):
            last = place[axis] == size - 1
            if size == 1 or (last and (size == 2 or not rings[axis])):
                continue
            other = (*place[:axis], (place[axis] + 1) % size, *place[axis + 1 :])
            graph.connect(devices[number[place]], devices[number[other]], rate, hop)


def _pcie(graph: Graph, prefix: str, devices: list[str], tier: Tier, hop: int) -> None:
    """Pairs behind a switch; what leaves a pair is held to the rate at which devices reach across the bridge."""
    root = tier.link.root_bandwidth or tier.link.bandwidth
    for i, device in enumerate(devices):
        switch = f"{prefix}pcie{i // 2}"
        graph.arrow(device, switch, tier.link.bandwidth, hop // 2)
        graph.arrow(switch, device, tier.link.bandwidth, hop // 2)
        # Each device has its own share of the bridge: many flows across it were measured to add up.
        graph.arrow(device, f"{prefix}bridge", root, hop // 2, 2)
        graph.arrow(f"{prefix}bridge", device, root, hop // 2, 2)


def lanes(graph: Graph, device: str, tier: Tier) -> str:
    """A device's own lanes of PCIe, between it and all it reaches."""
    name = f"{device}.lanes"
    if name not in graph.index:
        graph.connect(device, name, tier.link.host_bandwidth or tier.link.bandwidth, 0)
    return name


def _between(graph: Graph, groups: list[tuple[str, int]], tier: Tier) -> None:
    rate = tier.link.bandwidth
    hop = round(tier.link.hop_ns * PS_PER_NS) // 2
    step = round(tier.link.switch_ns * PS_PER_NS)
    nics: list[tuple[str, int]] = []  # (adapter, its place in its node)
    for name, count in groups:
        adapters = min(tier.nics_per_node or count, count)
        for i in range(count):
            nic = f"{name}.nic{i * adapters // count}"
            _to_adapter(graph, f"{name}.{i}", nic, i, tier)
        nics += [(f"{name}.nic{i}", i) for i in range(adapters)]
    if tier.topology == "rail-optimised":
        for nic, place in nics:
            graph.connect(nic, f"rail{place}", rate, hop, AWAY)
    elif tier.topology == "switch" or len(nics) <= tier.radix:
        for nic, _ in nics:
            graph.connect(nic, "switch", rate, hop, AWAY)
    else:
        leaves = -(-len(nics) // tier.radix)
        spines = max(1, round(tier.radix / tier.oversubscription))
        for i, (nic, _) in enumerate(nics):
            graph.connect(nic, f"leaf{i // tier.radix}", rate, hop, AWAY)
        for leaf in range(leaves):
            for spine in range(spines):
                graph.connect(f"leaf{leaf}", f"spine{spine}", rate, step, AWAY)


def _to_adapter(graph: Graph, device: str, nic: str, place: int, tier: Tier) -> None:
    """The way from a device to its adapter: no limit of its own, unless the link says so."""
    path = tier.link.host_path
    if path is None:
        graph.connect(device, nic, max(tier.link.bandwidth, 64e9), 0, AWAY)
        return
    rate, devices = path
    stage = f"{nic.rpartition('.')[0]}.host{place // devices}"
    if place % devices == 0:
        graph.connect(stage, nic, rate, 0, AWAY)
    graph.connect(device, stage, rate, 0, AWAY)

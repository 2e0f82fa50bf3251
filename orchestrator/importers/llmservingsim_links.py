"""The links of an LLMServingSim cluster: one figure, or one for each dimension of its grid of devices.

Dimensions are tensor-parallel ranks, then pipeline stages (where a data-parallel group has several), then what is
beyond. Their bandwidth is in binary gigabytes a second.
"""

from __future__ import annotations

from typing import Any

from metronome.hwmodels import catalog

from ..errors import InputError
from .llmservingsim_cluster import Cluster

#: their hardware names -> links between devices of a node, for what a collective takes beside its bytes
INTERCONNECTS = {"H100": "nvlink4", "A100": "nvlink3", "A6000": "nvlink3"}
Figures = tuple[float, float]  # bandwidth as they give it, latency in ns


def networks(
    where: str, cluster: Cluster, kinds: list[str], splits: list[list[tuple[int, int]]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The networks of a scenario, one a node and one of all, and what a reader should know of them.

    ``kinds``: hardware of each node. ``splits``: (tp, pp) of the instances of each node. Raises InputError.
    """
    inner, outer = _figures(where, cluster, splits)
    groups = [f"n{i}.accelerators" for i in range(len(kinds))]
    found = [{"name": f"link{i}", "connects": [groups[i]], **_link(inner, kinds[i])} for i in range(len(kinds))]
    notes = [text for text in dict.fromkeys(_beyond(inner, kind) for kind in kinds) if text]
    if len(kinds) > 1:
        single = all(sum(tp * pp for tp, pp in node) == 1 for node in splits)
        whole = {"name": "links", "connects": groups, **_link(outer if single else inner, "")}
        if outer != inner and not single:
            whole["scale_out"] = {"bandwidth_gb_s": _decimal(outer[0]), "latency_ns": outer[1]}
        found.append(whole)
    energies = [node.power.link.energy_per_bit if node.power else None for node in cluster.nodes]
    if len({*energies}) > 1:
        field = "power.link.energy_per_bit"
        raise InputError(where, field, energies, "nodes are joined by links of one kind here: give all nodes the same")
    if energies[0] is not None:
        found = [{**network, "energy_pj_per_bit": energies[0]} for network in found]
    return found, notes


def _figures(where: str, cluster: Cluster, splits: list[list[tuple[int, int]]]) -> tuple[Figures, Figures]:
    """Links within a tensor-parallel group, and beyond it."""
    dimensions = _dimensions(cluster, splits)
    columns = []
    for field, given in (("link_bw", cluster.link_bw), ("link_latency", cluster.link_latency)):
        if not isinstance(given, list):
            given = [given] * len(dimensions)
        if len(given) != len(dimensions):
            allowed = f"must have one figure for each dimension of the devices' grid, {dimensions}"
            raise InputError(where, field, given, allowed)
        columns.append(given)
    figures: list[Figures] = list(zip(*columns, strict=True))
    if len({*figures[1:]}) > 1:
        raise InputError(
            where, "link_bw, link_latency", figures, "stages and data-parallel members need the same links"
        )
    inner, outer = figures[0], figures[-1]
    if inner != outer and any(len(node) > 1 or node[0][1] > 1 for node in splits):
        allowed = "several tensor-parallel groups of one node are joined by the links of a node here: give one figure"
        raise InputError(where, "link_bw, link_latency", figures, allowed)
    if not inner[0] or not outer[0]:
        raise InputError(where, "link_bw", cluster.link_bw, "must be above 0")
    return inner, outer


def _dimensions(cluster: Cluster, splits: list[list[tuple[int, int]]]) -> list[int]:
    """Their grid: [tp, dp] or [tp, pp, dp] of a data-parallel group, else [tp, all stages]; last ones are left out."""
    parts = [part for node in cluster.nodes for part in node.instances]
    all_splits = [split for node in splits for split in node]
    tp, pp = all_splits[0]
    if any(part.dp_group is not None for part in parts):
        grid = [tp, pp, len(parts)] if pp > 1 else [tp, len(parts)]
    else:
        times = [2 if part.pd_type == "prefill" else 1 for part in parts]
        stages = sum(n * each for n, (_, each) in zip(times, all_splits, strict=True))
        devices = sum(n * a * b for n, (a, b) in zip(times, all_splits, strict=True))
        grid = [devices // stages, stages]
        if devices == stages:
            grid = [devices // sum(times), sum(times)]
    while len(grid) > 1 and grid[-1] == 1:
        grid.pop()
    return grid


def _link(figures: Figures, kind: str) -> dict[str, Any]:
    """No collective takes no time: where their latency is 0, the device's own links have theirs."""
    bandwidth, latency = _decimal(figures[0]), figures[1]
    if not latency and kind in INTERCONNECTS:
        return {"type": INTERCONNECTS[kind], "bandwidth_gb_s": bandwidth}
    return {"bandwidth_gb_s": bandwidth, "latency_ns": latency}


def _beyond(figures: Figures, kind: str) -> str | None:
    """Their figure is of one direction; what a datasheet adds up over both is twice too much."""
    if figures[1] or kind not in INTERCONNECTS:
        return None
    name = INTERCONNECTS[kind]
    reached = catalog.interconnect(name).bandwidth / 1e9
    if _decimal(figures[0]) <= 2 * reached:
        return None
    return f"link_bw is {_decimal(figures[0]):,.0f} GB/s a direction; {name} reaches {reached:,.0f}"


def _decimal(bandwidth: float) -> float:
    return bandwidth * 2**30 / 1e9

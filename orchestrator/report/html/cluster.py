"""The cluster as a picture: nodes with their devices, who is served on them, and the networks between.

Nodes stand one below the other; every network is a line beside them, with a dot where a node is connected.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from ...scenario.links import usual_topology
from .run import Run

MAX_NODES = 12  # more are said, not drawn
PER_ROW, SIDE, GAP, PAD, WIDTH, BUS, LINE = 8, 30, 6, 14, 560, 34, 20
_SELECTION = re.compile(r"^(.+)\[(\d+)(?::(\d+))?\]$")


@dataclass(frozen=True, slots=True)
class Device:
    """A square; ``owner`` is the place of the instance it serves, None if it serves none."""

    x: float
    y: float
    owner: int | None
    title: str


@dataclass(frozen=True, slots=True)
class NodeBox:
    """A node: its box, its text lines, its devices."""

    name: str
    y: float
    height: float
    title: str
    lines: list[tuple[float, float, str]]
    devices: list[Device]


@dataclass(frozen=True, slots=True)
class NetworkLine:
    """A network: where its line is, the heights it has dots at, and its text."""

    name: str
    x: float
    top: float
    label_y: float
    dots: list[float]
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it, in units of the drawing."""

    width: float
    height: float
    summary: str
    nodes: list[NodeBox]
    networks: list[NetworkLine]
    instances: list[str]
    undrawn: int = 0
    side: int = SIDE
    node_width: int = WIDTH
    pad: int = PAD
    links: list[tuple[str, str, str]] = field(default_factory=list)


def picture(run: Run) -> Picture | None:
    """Of the run's scenario; None where the scenario is not known."""
    scenario = run.scenario
    if not scenario or not isinstance(scenario.get("cluster"), dict):
        return None
    drawn = draw(scenario)
    return replace(drawn, links=_links(run))


def draw(scenario: dict[str, Any]) -> Picture:
    """Of a scenario's content, without anything of a run."""
    instances = scenario.get("instances") or []
    owners = _owners(instances)
    all_nodes = scenario["cluster"].get("nodes") or []
    networks = scenario["cluster"].get("networks") or []
    boxes, places, y = [], {}, 4.0
    for node in all_nodes[:MAX_NODES]:
        box = _node(node, y, owners, instances)
        boxes.append(box)
        places[f"{node['name']}.accelerators"] = y + box.height / 2
        y += box.height + PAD
    lines = [_network(network, i, places, y) for i, network in enumerate(networks)]
    height = y + LINE * len(lines) + 6
    devices = sum(int(node["accelerators"]["count"]) for node in all_nodes)
    parts = (
        (len(all_nodes), "node"),
        (devices, "accelerator"),
        (len(instances), "instance"),
        (len(networks), "network"),
    )
    summary = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in parts)
    width = WIDTH + 8 + max(BUS * len(lines) + 20, 20)
    return Picture(
        width,
        height,
        summary,
        boxes,
        lines,
        [_instance(i) for i in instances],
        max(0, len(all_nodes) - MAX_NODES),
    )


def _owners(instances: list[dict[str, Any]]) -> dict[tuple[str, int], int]:
    """(node, device) -> the place of the instance that it serves."""
    found = {}
    for place, instance in enumerate(instances):
        for part in (instance, instance.get("ffn") or {}):
            given = part.get("accelerators") or []
            for text in [given] if isinstance(given, str) else given:
                if match := _SELECTION.match(text):
                    first = int(match[2])
                    for device in range(first, int(match[3] or first + 1)):
                        found[match[1], device] = place
    return found


def _node(
    node: dict[str, Any], y: float, owners: dict[tuple[str, int], int], instances: list[dict[str, Any]]
) -> NodeBox:
    name, group = node["name"], node["accelerators"]
    count, devices = int(group["count"]), []
    for i in range(count):
        owner = owners.get((name, i))
        serves = f"serves {instances[owner]['name']}" if owner is not None else "serves none"
        spot = (PAD + (i % PER_ROW) * (SIDE + GAP), y + 38 + (i // PER_ROW) * (SIDE + GAP))
        devices.append(Device(*spot, owner, f"{name}[{i}] {group['type']}: {serves}"))
    rows = -(-count // PER_ROW)
    texts = _memories(node)
    height = max(38 + rows * (SIDE + GAP) + 8, 42 + LINE * len(texts))
    left = 2.0 * PAD + min(count, PER_ROW) * (SIDE + GAP)
    lines = [(left, y + 52 + i * LINE, text) for i, text in enumerate(texts)]
    return NodeBox(name, y, height, f"{name}: {count} x {group['type']}", lines, devices)


def _memories(node: dict[str, Any]) -> list[str]:
    memory, found = node.get("memory") or {}, []
    for kind, name in (("dram", "DRAM"), ("cxl", "CXL"), ("nvme", "NVMe")):
        if one := memory.get(kind):
            size = f"{one['size_gib']:g} GiB" if one.get("size_gib") else ""
            count = f"{one['channels']} x " if one.get("channels") else ""
            rate = f"{one['bandwidth_gb_s']:g} GB/s" if one.get("bandwidth_gb_s") else ""
            figures = [size, f"{count}{one['type']}" if one.get("type") else "", rate]
            found.append(f"{name} {', '.join(filter(None, figures))}")
    if pim := memory.get("pim"):
        found.append(f"PIM: {pim['devices_per_accelerator']} devices an accelerator")
    if base := (node.get("power") or {}).get("base_w"):
        found.append(f"draws {base:g} W beside its devices")
    return found


def _network(network: dict[str, Any], place: int, nodes: dict[str, float], bottom: float) -> NetworkLine:
    dots = [nodes[group] for group in network["connects"] if group in nodes]
    text = f"{network['name']}: {', '.join(filter(None, (_figures(network), _laid_out(network))))}"
    if outer := network.get("scale_out"):
        text += f"; between nodes {_figures(outer)}, {outer.get('topology', 'switch')}"
    x = WIDTH + 8 + BUS * (place + 0.7)
    return NetworkLine(network["name"], x, min(dots, default=bottom), bottom + LINE * place + 12, dots, text)


def _laid_out(network: dict[str, Any]) -> str:
    """Its topology; "" where that is its devices' own."""
    said = network.get("type"), network.get("bandwidth_gb_s")
    return network.get("topology") or (usual_topology(said[0]) if any(said) else "")


def _figures(links: dict[str, Any]) -> str:
    figures = [links.get("type") or ""]
    figures += [f"{links['bandwidth_gb_s']:g} GB/s"] if links.get("bandwidth_gb_s") else []
    return " ".join(filter(None, figures)) or "as its devices are joined"


def _instance(instance: dict[str, Any]) -> str:
    sizes = (("tensor_parallel_size", "TP"), ("pipeline_parallel_size", "PP"), ("data_parallel_size", "DP"))
    parallel = [f"{short} {instance[key]}" for key, short in sizes if (instance.get(key) or 1) > 1]
    role = instance.get("role", "both")
    return ", ".join(
        [f"{instance['name']}: {instance['model']}", *parallel, *([f"{role} only"] if role != "both" else [])]
    )


def _links(run: Run) -> list[tuple[str, str, str]]:
    """The busiest links of every network that says: name, share of the time, bytes."""
    found, duration = [], run.own.get("simulated_s") or 0
    for name, component in (run.own.get("components") or {}).items():
        for link in (component.get("statistics") or {}).get("links", [])[:4]:
            share = f"{link['busy_s'] / duration:.1%}" if duration else "-"
            found.append((f"{name} {link['link']}", share, f"{link['bytes'] / 1e9:,.2f}"))
    return found

"""Networks as ASTRA-sim's analytical backend describes them: a YAML file of dimensions, the innermost first.

``topology``: Ring, FullyConnected or Switch of each dimension; ``npus_count``; ``bandwidth`` of a link, which it calls
GB/s and takes as GiB/s; ``latency`` of a link, ns (astra-network-analytical: `NetworkParser.cpp`, `Type.h`). Here a
bandwidth is a device's, over all its links, and a latency that between two neighbours: a switch is two links.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ..errors import InputError
from ..strict import did_you_mean
from ..units import GIB
from .yaml import parse, read_text

COLUMNS = ("topology", "npus_count", "bandwidth", "latency")
TOPOLOGIES = ("Ring", "FullyConnected", "Switch")
#: What a network of a scenario says itself; all of it comes from the file.
SAID = ("type", "bandwidth_gb_s", "latency_ns", "topology", "dims", "scale_out")
GIB_S = GIB / 1e9  # in decimal GB/s


class Dimension(NamedTuple):
    """One of the file's: ``bandwidth`` in decimal GB/s and ``latency_ns`` of a link."""

    topology: str
    npus: int
    bandwidth: float
    latency_ns: float

    @property
    def links(self) -> int:
        """Of a device."""
        return {"Ring": min(self.npus - 1, 2), "FullyConnected": self.npus - 1}.get(self.topology, 1)

    @property
    def figures(self) -> dict[str, Any]:
        hops = 2 if self.topology == "Switch" else 1
        return {"bandwidth_gb_s": self.bandwidth * self.links, "latency_ns": self.latency_ns * hops}


def include_networks(data: dict[str, Any], folder: Path) -> None:
    """Puts what the files say that a scenario's networks name in place of the names. Raises InputError."""
    for number, network in _networks(data.get("cluster")):
        if "file" in network and not isinstance(network["file"], str):
            raise InputError("scenario", f"cluster.networks.{number}.file", network["file"], "must be a path")
        if "file" in network:
            also = [field for field in SAID if field in network]
            if also:
                raise InputError("scenario", f"cluster.networks.{number}.{also[0]}", network[also[0]], "is the file's")
            path = folder / network.pop("file")
            dimensions = read_dimensions(path)
            said = links(path, dimensions)
            _check_counts(path, dimensions, "scale_out" in said, _counts(data["cluster"], network))
            network.update(said)


def links(path: Path, dimensions: list[Dimension]) -> dict[str, Any]:
    """A network's fields. Raises InputError for what cannot be said here."""
    first, *others = dimensions
    if not others:
        names = {"Ring": "ring", "FullyConnected": "fully-connected", "Switch": "switch"}
        return {"topology": names[first.topology], **first.figures}
    alike = {(one.topology, one.bandwidth, one.latency_ns) for one in dimensions} == {
        ("Ring", first.bandwidth, first.latency_ns)
    }
    if alike:  # here the last axis is the innermost
        rate = first.bandwidth * sum(one.links for one in dimensions)
        dims = [one.npus for one in reversed(dimensions)]
        return {"topology": "torus", "dims": dims, "bandwidth_gb_s": rate, "latency_ns": first.latency_ns}
    if len(others) == 1 and others[0].topology == "Switch":  # of each place in its node, one
        return links(path, [first]) | {"scale_out": {"topology": "rail-optimised", **others[0].figures}}
    _refuse(
        path, "topology", [one.topology for one in dimensions], "beyond one dimension: all Ring alike, or X and Switch"
    )


def read_dimensions(path: Path) -> list[Dimension]:
    """Raises InputError."""
    try:
        data = parse(str(path), read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "file", None, f"cannot be read: {error}") from None
    if not isinstance(data, dict):
        _refuse(path, "network", data, f"must be a mapping: {', '.join(COLUMNS)}")
    for key in data:
        if key not in COLUMNS:
            _refuse(path, str(key), None, f"unknown key; {did_you_mean(str(key), COLUMNS)}known: {', '.join(COLUMNS)}")
    columns = [data.get(name) for name in COLUMNS]
    if not all(isinstance(column, list) and len(column) == len(columns[0] or ()) and column for column in columns):
        _refuse(path, "network", None, f"{', '.join(COLUMNS)} must be lists of one length")
    return [_dimension(path, *row) for row in zip(*columns, strict=True)]


def _dimension(path: Path, topology: object, count: object, bandwidth: object, latency: object) -> Dimension:
    if topology not in TOPOLOGIES:
        _refuse(path, "topology", topology, f"must be one of {', '.join(TOPOLOGIES)}")
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        _refuse(path, "npus_count", count, "must be 2 or more")
    for name, value, least in (("bandwidth", bandwidth, 1e-6), ("latency", latency, 0)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < 1e12:
            _refuse(path, name, value, f"must be a number from {least:g} on")
    return Dimension(str(topology), count, float(bandwidth) * GIB_S, float(latency))  # type: ignore[arg-type]


def _check_counts(path: Path, dimensions: list[Dimension], by_node: bool, connected: list[int]) -> None:
    """``connected``: accelerators of each node that the network connects; the file tells nodes apart, or not."""
    asked = [one.npus for one in dimensions]
    fits = connected == [asked[0]] * asked[1] if by_node else sum(connected) == prod(asked)
    if not fits:
        there = f"{len(connected)} nodes of {', '.join(map(str, connected))}"
        _refuse(path, "npus_count", asked, f"must be the accelerators that it connects, here {there}")


def _networks(cluster: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Whatever may be a network of content that is not checked yet, by its place."""
    found = cluster.get("networks") if isinstance(cluster, dict) else None
    yield from ((i, one) for i, one in enumerate(found if isinstance(found, list) else []) if isinstance(one, dict))


def _counts(cluster: dict[str, Any], network: dict[str, Any]) -> list[int]:
    """Accelerators of each node it connects, as far as that can be read before it is checked."""
    connects = network.get("connects")
    groups = [str(group).partition(".") for group in connects] if isinstance(connects, list) else []
    found = []
    for node in cluster.get("nodes") or []:
        if isinstance(node, dict) and (node.get("name"), ".", "accelerators") in groups:
            accelerators = node.get("accelerators")
            found.append(accelerators.get("count", 0) if isinstance(accelerators, dict) else 0)
    return found


def _refuse(path: Path, field: str, value: object, allowed: str) -> NoReturn:
    raise InputError(str(path), field, value, allowed)

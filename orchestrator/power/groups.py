"""Devices that step together, and which node's what they spend is.

A component is asked for all ranks that work in step, and says their energy; that of ranks on another node is drawn
there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .account import Times

Rows = tuple[Times, Times, Times]  # from when to when (ps), pJ


class Group(NamedTuple):
    """``name``: under which its steps are booked. ``homes``: node -> nodes, with the number of devices on each, of the
    ranks in step whose first is on it."""

    name: str
    instance: str
    homes: Mapping[str, Mapping[str, int]]

    def devices(self, node: str) -> int:
        return sum(counts.get(node, 0) for counts in self.homes.values())


def shared_out(entries: Mapping[tuple[str, str], Rows], groups: Sequence[Group]) -> dict[tuple[str, str], Rows]:
    """``entries[component, group]`` with what was spent on other nodes as theirs, to the picojoule."""
    homes = {group.name: group.homes for group in groups}
    found: dict[tuple[str, str], Rows] = {}
    for (component, group), rows in entries.items():
        node, _, part = component.partition(".")
        counts = homes.get(group, {}).get(node, {node: 1})
        left, devices = rows[2], sum(counts.values())
        for place in [*(one for one in counts if one != node), node]:
            mine = left if place == node else rows[2] * counts[place] // devices
            left = left - mine
            _add(found, (component if place == node else f"{place}.{part}", group), (rows[0], rows[1], mine))
    return found


def _add(found: dict[tuple[str, str], Rows], key: tuple[str, str], rows: Rows) -> None:
    known = found.get(key)
    if known is not None:
        since, until, energy = (np.concatenate(pair) for pair in zip(known, rows, strict=True))
        rows = (since, until, energy)
    found[key] = rows

"""Which links were busiest, and with whose bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .graph import Edge
from .shapes import Shape

MOST = 20  # links named in the statistics


def busiest(links: Sequence[Edge], sent: Iterable[tuple[str, Shape, int]]) -> list[dict[str, Any]]:
    """Of each its name, bytes, seconds these need at its full rate, and bytes by who sent them.

    ``sent``: who, over which links, and how many bytes were asked for.
    """
    used: dict[int, dict[str, float]] = {}
    for who, shape, size in sent:
        for link, weight in shape.weights.items():
            users = used.setdefault(link, {})
            users[who] = users.get(who, 0.0) + weight * shape.largest * size
    rows = []
    for number, users in used.items():
        wire = links[number]
        total = math.fsum(users.values())
        shares = dict(sorted(((who, round(size)) for who, size in users.items()), key=lambda x: (-x[1], x[0])))
        rows.append({"link": wire.name, "bytes": round(total), "busy_s": total / wire.bytes_per_s, "users": shares})
    rows.sort(key=lambda row: (-float(str(row["busy_s"])), str(row["link"])))
    return rows[:MOST]

"""Loaded latency of a memory in a CSV file: read share, bandwidth, latency."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError

COLUMNS = ("read_share", "bandwidth_gb_s", "latency_ns")


def include_curves(data: dict[str, Any], folder: Path) -> None:
    """Puts the rows of the files that a scenario's memories name in place of the names. Raises InputError."""
    for memory in _memories(data.get("cluster")):
        if isinstance(memory.get("loaded_latency"), str):
            memory["loaded_latency"] = read_curve(folder / memory["loaded_latency"])


def _memories(cluster: Any) -> Iterator[dict[str, Any]]:
    """Whatever may be a memory of content that is not checked yet."""
    if not isinstance(cluster, dict):
        return
    nodes, pools = cluster.get("nodes"), cluster.get("memories")
    for node in nodes if isinstance(nodes, list) else []:
        if isinstance(node, dict) and isinstance(node.get("memory"), dict):
            yield from (one for one in node["memory"].values() if isinstance(one, dict))
    yield from (one for one in (pools if isinstance(pools, list) else []) if isinstance(one, dict))


def read_curve(path: Path) -> list[list[float]]:
    """Its rows: share of reads (0 to 1), GB/s, ns. The first line names the columns. Raises InputError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "loaded_latency", None, f"cannot be read: {error}") from None
    if not lines or tuple(name.strip() for name in lines[0]) != COLUMNS:
        raise InputError(f"{path}:1", "header", ",".join(lines[0]) if lines else None, f"must be {','.join(COLUMNS)}")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        try:
            row = [float(cell) for cell in line]
        except ValueError:
            row = []
        if len(row) != len(COLUMNS) or not all(value < float("inf") for value in row):
            raise InputError(f"{path}:{number}", "row", ",".join(line), f"must be three numbers: {', '.join(COLUMNS)}")
        rows.append(row)
    return rows

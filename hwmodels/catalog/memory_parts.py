"""Memories beside the devices' own, as data: what moves in and out of a part, and how long it waits first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from . import facts, names


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """One kind of memory.

    Attributes:
        read, write: bytes/s that large transfers reach one way.
        both: bytes/s of both ways together.
        latency_ns: of one access to an idle part, beside its bytes.
        channels: whether figures are those of one channel (or stack) of several.
        sources: where each figure comes from.
    """

    name: str
    read: float
    write: float
    both: float
    latency_ns: float
    channels: bool
    sources: dict[str, str]


def memory_names() -> list[str]:
    return names("memories")


@cache
def memory_part(name: str) -> MemoryPart:
    """The part of that name; KeyError if the catalog has none."""
    found = facts("memories", name)
    share = found["efficiency"] * 1e9
    both = found.get("bandwidth_gb_s") or found["read_gb_s"] + found["write_gb_s"]
    return MemoryPart(
        name=name,
        read=found.get("read_gb_s", both) * share,
        write=found.get("write_gb_s", both) * share,
        both=both * share,
        latency_ns=found["latency_ns"],
        channels=found["per"] == "channel",
        sources=found["sources"],
    )

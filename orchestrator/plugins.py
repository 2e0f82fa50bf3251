"""What other packages bring along: entry points, looked up once."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points


@cache
def named(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {entry.name: entry for entry in _installed().select(group=group)}


@cache
def ours() -> tuple[EntryPoint, ...]:
    """All entry points that are meant for this project."""
    groups = sorted(group for group in _installed().groups if group.startswith("metronome."))
    return tuple(entry for group in groups for entry in named(group).values())


@cache
def _installed():  # type: ignore[no-untyped-def]  # its class differs between versions of Python
    return entry_points()

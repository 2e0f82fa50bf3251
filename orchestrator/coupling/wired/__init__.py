"""Components of a scenario that are wired to one another (docs/ports.md)."""

from .links import behind_wires, hosted, wired

__all__ = ["behind_wires", "hosted", "wired"]

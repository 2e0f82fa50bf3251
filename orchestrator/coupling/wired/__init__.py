"""Components of a scenario that are wired to one another (docs/ports.md)."""

from .links import hosted, joined

__all__ = ["hosted", "joined"]

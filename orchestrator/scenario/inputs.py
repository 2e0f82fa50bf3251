"""The files a scenario names, found from its folder, or from the copies a recording keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Inputs:
    """``found`` is every name that was asked for, and where it is; ``copies`` stand in for the originals."""

    def __init__(self, folder: Path, copies: Mapping[str, Path] | None = None) -> None:
        self.folder, self._copies = folder, dict(copies or {})
        self.found: dict[str, Path] = {}

    def path(self, name: str) -> Path:
        """Where the file of that name is; it need not exist."""
        path = self._copies.get(name) or self.folder / name
        self.found[name] = path
        return path

"""Points that have been computed, by the content of everything that decides their result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..scenario.schema import Scenario

MOST_FILES = 10_000  # of one folder that a scenario names
OWN = ("metronome.orchestrator", "metronome.hwmodels", "metronome.adapters")


def key(scenario: Scenario, folder: Path) -> str:
    """Digest of the scenario, the content of the files and folders it names, the code of classes it names, and ours."""
    data = scenario.model_dump(mode="json")
    facts = {
        "version": version("metronome-cosim"),
        "code": _code(),
        "scenario": data,
        "files": {text: _content(folder / text) for text in sorted(set(_texts(data)))},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _content(path: Path) -> str:
    """Digest of a file, a folder, or the module of ``module:Class``; empty where the text names none."""
    try:
        if path.is_file():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())[:MOST_FILES]
            return _of_files(files, path)
    except (OSError, ValueError):  # a text that is no path at all
        return ""
    module, colon, _ = path.name.partition(":")
    try:
        spec = find_spec(module) if colon and module else None
    except (ImportError, ValueError):
        return ""
    return _content(Path(spec.origin)) if spec and spec.origin else ""


def _of_files(files: list[Path], base: Path) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(base)}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


@cache
def _code() -> list[str]:
    found = []
    for name in OWN:
        spec = find_spec(name)
        folder = Path((spec.submodule_search_locations or [""])[0]) if spec else Path()
        found.append(_of_files(sorted(file for file in folder.rglob("*") if file.suffix in (".py", ".yaml")), folder))
    return found


class Store:
    """Rows by key, a file each; whole or not there, however a run ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of that key, if it is there and whole."""
        try:
            row = json.loads((self._folder / f"{key}.json").read_text())
        except (OSError, ValueError):
            return None
        return row if isinstance(row, dict) and "status" in row else None

    def put(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row."""
        partial = self._folder / f".{key}.{os.getpid()}"
        partial.write_text(json.dumps(row))
        partial.replace(self._folder / f"{key}.json")

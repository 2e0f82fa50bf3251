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

from .. import plugins
from ..scenario.schema import Scenario

OWN = ("metronome.orchestrator", "metronome.hwmodels", "metronome.adapters")


def key(scenario: Scenario, folder: Path, out: Path | None = None) -> str:
    """Digest of `decides`."""
    return hashlib.sha256(json.dumps(decides(scenario, folder, out), sort_keys=True).encode()).hexdigest()


def decides(scenario: Scenario, folder: Path, out: Path | None = None) -> dict[str, Any]:
    """The scenario, digests of the files and folders it names, and of code: of classes it names, ours, and that of
    packages that bring models along.

    ``out`` is no part of it: where rows are kept may lie in a folder that the scenario names.
    """
    data = scenario.model_dump(mode="json")
    return {
        "version": _version(),
        "code": _code(),
        "packages": _packages(),
        "scenario": data,
        "files": {text: _content(folder / text, out) for text in sorted(set(_texts(data))) if text.strip("./")},
    }


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def _content(path: Path, out: Path | None = None) -> str:
    """Digest of a file, a folder, or the module of ``module:Class``; empty where the text names none."""
    try:
        if path.is_file():
            return _of_file(path)
        if path.is_dir():
            return _of_folder(path, out)
    except (OSError, ValueError):  # a text that is no path at all
        return ""
    module, colon, _ = path.name.partition(":")
    try:
        spec = find_spec(module) if colon and module else None
    except (ImportError, ValueError):
        return ""
    return _content(Path(spec.origin)) if spec and spec.origin else ""


def _of_file(path: Path) -> str:
    status = path.stat()
    return _read(path, status.st_size, status.st_mtime_ns)


@cache
def _read(path: Path, size: int, changed_ns: int) -> str:
    """A trace is read once, not once a point."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_folder(folder: Path, out: Path | None = None, suffixes: tuple[str, ...] = ()) -> str:
    """Of all its files, or those with these suffixes, but for what is in ``out``."""
    total, apart = hashlib.sha256(), out.resolve() if out else None
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or (suffixes and file.suffix not in suffixes) or apart in file.resolve().parents:
            continue
        total.update(f"{file.relative_to(folder)}\0{_of_file(file)}".encode())
    return total.hexdigest()


@cache
def _version() -> str:
    return version("metronome-cosim")


@cache
def _code() -> list[str]:
    found = []
    for name in OWN:
        spec = find_spec(name)
        places = spec.submodule_search_locations if spec else None
        found += [_of_folder(Path(place), suffixes=(".py", ".yaml")) for place in places or ()]
    return found


@cache
def _packages() -> list[str]:
    """Whatever brings models, engines or formats along: what it names, its version, and the code of that module."""
    return sorted(
        f"{entry.value} {entry.dist.version if entry.dist else ''} {_content(Path(entry.value))}"
        for entry in plugins.ours()
    )


class Store:
    """Rows by key, a file each; whole or not there, however a run ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of that key, if it is there and whole."""
        try:
            row = json.loads((self._folder / f"{key}.json").read_text())
        except (OSError, ValueError, RecursionError):
            return None
        return row if isinstance(row, dict) and "status" in row else None

    def put(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row."""
        partial = self._folder / f".{key}.{os.getpid()}"
        partial.write_text(json.dumps(row))
        partial.replace(self._folder / f"{key}.json")

"""Answers on disk, by what they are answers to. Several runs may use it at once."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from metronome.hwmodels.interface import Description, Provenance

from ..components import ComponentSpec
from .grid import Answer


def folder() -> Path:
    """``$METRONOME_CACHE``, or ``metronome`` in the user's cache folder."""
    given = os.environ.get("METRONOME_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metronome"


def identity(spec: ComponentSpec, description: Description, model: Any, image: str) -> str:
    """Digest of everything an answer depends on beside the operation: model, version, its code, configuration, the
    content of files that names, seed."""
    facts = {
        "model": [description.name, description.version, image],
        "code": [_content(path) for path in _sources(model)],
        "config": {**spec.config, **(spec.facts or {})},
        "files": [_content(path) for path in _files([*spec.config.values()])],
        "seed": spec.seed,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _sources(model: Any) -> Iterator[Path]:
    """The source files of a model's class and of those it is made from."""
    for base in getattr(model, "__mro__", ()):
        if base.__module__.split(".")[0] not in ("builtins", "typing", "abc", "pydantic"):
            try:
                yield Path(inspect.getfile(base))
            except (TypeError, OSError):
                continue


def _files(values: Iterable[Any]) -> Iterator[Path]:
    """Files that configuration values name: a path, or a command that is found."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _files(value)
        elif isinstance(value, Mapping):
            yield from _files(value.values())
        elif isinstance(value, str) and value:
            found = value if "/" in value else shutil.which(value)
            if found and Path(found).is_file():
                yield Path(found)


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The answers of one component: one SQLite file a digest. Failures are never kept."""

    def __init__(self, digest: str) -> None:
        self.path = folder() / "answers" / f"{digest[:32]}.sqlite"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS answers "
            "(operation TEXT PRIMARY KEY, duration_ps INTEGER NOT NULL, energy_pj INTEGER, provenance TEXT NOT NULL)"
        )

    def get(self, keys: list[str]) -> dict[str, Answer]:
        found = {}
        for key in keys:
            row = self._database.execute(
                "SELECT duration_ps, energy_pj, provenance FROM answers WHERE operation = ?", (key,)
            ).fetchone()
            if row:
                found[key] = Answer(row[0], row[1], Provenance(row[2]))
        return found

    def put(self, answers: Mapping[str, Answer]) -> None:
        """Two runs that ask the same at once have the same answer; the first one stays."""
        self._database.executemany(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
            [(key, a.duration_ps, a.energy_pj, str(a.provenance)) for key, a in answers.items()],
        )

    def close(self) -> None:
        self._database.close()

"""Answers on disk, by what they are answers to. Several runs may use it at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
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
    models = [model, *(model.models(spec.config) if hasattr(model, "models") else ())]
    facts = {
        "model": [description.name, description.version, image],
        "code": [_content(path) for one in models for path in _sources(one)],
        "tools": [tool for one in models for tool in _tools(one)],
        "config": {**spec.config, **(spec.facts or {})},
        "files": [_content(path) for path in _files([*spec.config.values(), _program(spec)])],
        "seed": spec.seed,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _program(spec: ComponentSpec) -> list[str]:
    """What `run: command` starts; a path starts from the scenario's folder."""
    command = spec.options.command if spec.options.run == "command" else None
    return [str(spec.folder / part) if "/" in part else part for part in command or ()]


def _sources(model: Any) -> list[Path]:
    """Everything in the folders of the modules that a model's class is made from, and of what these import from
    beside it: its helpers, the workers it starts, the tables it reads. Libraries go by their version."""
    found: set[Path] = set()
    left = [base.__module__ for base in getattr(model, "__mro__", ())]
    seen: set[str] = set()
    while left:
        name = left.pop()
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if name in seen or file is None or _is_library(name, Path(file)):
            continue
        seen.add(name)
        path = Path(file)
        package = bool(getattr(module, "__package__", ""))
        found |= {p for p in path.parent.iterdir() if p.is_file() and p.suffix != ".pyc"} if package else {path}
        left += [
            of.__name__ if isinstance(of, ModuleType) else getattr(of, "__module__", None) or ""
            for of in vars(module).values()
        ]
    return sorted(found)


def _is_library(name: str, file: Path) -> bool:
    if name.partition(".")[0] == "metronome":
        return name.startswith("metronome.orchestrator")
    return name.partition(".")[0] in sys.stdlib_module_names or "site-packages" in file.parts


def _tools(model: Any) -> list[str]:
    """What `metronome tools` has installed, of the tools that a model names: digests of the binary and its pins."""
    found = []
    for name in sorted(getattr(model, "tools", ())):
        own = tools_folder() / name
        found += [_content(path) for path in (own / "installed", own / name) if path.is_file()]
    return found


def tools_folder() -> Path:
    """As `metronome.adapters.tools.environment.folder`, which the orchestrator does not import."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("METRONOME_TOOLS") or Path(data) / "metronome" / "tools")


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

"""Finding formats: ours are the modules of `formats/`, other people's are entry points of the group
``metronome.workloads``, or named as ``module:attribute``. A format is a `Format`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np

from ..errors import InputError, let_interrupts_through, words
from ..plugins import named
from ..strict import did_you_mean
from .options import WorkloadOptions
from .randomness import stream
from .request import Request

GROUP = "metronome.workloads"
OURS = "metronome.orchestrator.workload.formats"  # each module of it has one FORMAT


@dataclass(slots=True)
class Reading:
    """What a format reads with.

    Attributes:
        path: where a file that the scenario names is.
        seed: of every stream.
        strict: odd rows are errors.
        notes: what is to be said of how the workload was read.
        streams: names of the random streams that were asked for.
        prioritised: some request of it is more or less urgent than others; known of files when they have been opened.
    """

    path: Callable[[str], Path]
    seed: int = 0
    strict: bool = False
    notes: list[str] = field(default_factory=list)
    streams: set[str] = field(default_factory=set)
    prioritised: bool = False

    def stream(self, name: str) -> np.random.Generator:
        """The random stream of one part of the workload."""
        self.streams.add(name)
        return stream(self.seed, f"workload.{name}")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True, slots=True)
class Format:
    """One format of workload.

    Attributes:
        options: what the scenario may say; its ``format`` is the name.
        read: the requests, as they are; times, limits and shuffling are applied to them afterwards.
        looks_like: whether a file, by its name and first kilobytes, is of this format; surest first.
    """

    options: type[WorkloadOptions]
    read: Callable[[Any, Reading], Iterator[Request]]
    looks_like: Callable[[Path, bytes], bool] = lambda path, head: False

    @property
    def name(self) -> str:
        return str(self.options.model_fields["format"].default)


@cache
def known() -> dict[str, Format]:
    """Every format by name: ours, then other packages' that can be loaded."""
    modules = sorted(module.name for module in iter_modules(import_module(OURS).__path__))
    ours = (import_module(f"{OURS}.{module}").FORMAT for module in modules)
    found = {one.name: one for one in ours}
    for entry in named(GROUP).values():
        try:
            one = entry.load()
        except (ImportError, AttributeError) as error:
            warnings.warn(f"workload format {entry.name} ({entry.value}) cannot be loaded: {error}", stacklevel=2)
            continue
        if not isinstance(one, Format):
            warnings.warn(f"workload format {entry.name}: {entry.value} is no Format", stacklevel=2)
            continue
        found.setdefault(one.name, one)
    return found


def find(name: str) -> Format:
    """The format of that name, or ``module:attribute``. Raises ValueError."""
    if name in known():
        return known()[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        hint = did_you_mean(name, known())
        raise ValueError(f"there is no format '{name}'; {hint}known: {', '.join(sorted(known()))}, or module:attribute")
    try:
        one = getattr(import_module(module), attribute)
    except BaseException as error:  # the user's own code, whatever it raises
        let_interrupts_through(error)
        raise ValueError(f"format {name} cannot be loaded: {words(error)}") from None
    if not isinstance(one, Format):
        raise ValueError(f"format {name} is no Format, but a {type(one).__name__}")
    return one


def guess(path: Path) -> str | None:
    """The format of a file or folder by its looks; None if no one knows it, or it cannot be read."""
    head = b""
    if not path.is_dir():
        if not path.is_file():  # a device or a pipe would be waited for
            return None
        try:
            with path.open("rb") as file:
                head = file.read(1 << 16)
        except OSError:
            return None
    return next((name for name, one in known().items() if one.looks_like(path, head)), None)


def unlike(path: Path, name: str) -> str:
    """A hint for a file that cannot be read as ``name``; empty where its looks say nothing else."""
    other = guess(path)
    return f"; the file looks like format {other}" if other not in (None, name) else ""


def refuse(path: Path, line: int, name: str, what: str) -> InputError:
    """A line of a file that is not of the format it is said to be."""
    return InputError(f"{path}:{line}", "line", None, f"{what}{unlike(path, name)}")

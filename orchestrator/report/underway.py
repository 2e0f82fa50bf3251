"""A run that is going on says so in its folder, for whoever looks on from another process."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..scenario.schema import Scenario

NAME = "running.json"  # there while the run is, and after one that was killed


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What a run has said of itself. ``requests``: how many there will be, where the scenario says so.
    ``began_s``: when, in seconds of the epoch; ``alive``: whether its process still is."""

    scenario: str
    requests: int | None
    began_s: float
    alive: bool


def requests_of(scenario: Scenario) -> int | None:
    """How many there will be, where the scenario says; a file is read as the run goes."""
    said: int | None = getattr(scenario.workload, "num_requests", None)
    limits = [number for number in (said, scenario.workload.limit) if number is not None]
    return min(limits, default=None)


@contextmanager
def under_way(folder: Path | None, scenario: Scenario) -> Iterator[None]:
    """While in this context the folder says that the run is going on. The file is locked, so that it is known to be
    over however the process ends."""
    if folder is None:
        yield
        return
    path = folder / NAME
    with path.open("w") as file:
        with suppress(OSError):  # a file system without locks: it is seen as over until its results are there
            fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"scenario": scenario.name, "requests": requests_of(scenario)}, file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def look(folder: Path) -> UnderWay | None:
    """None where no run is going on, nor was killed."""
    try:
        with (folder / NAME).open() as file:
            said = json.load(file)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                alive = False
            except OSError:
                alive = True
            return UnderWay(said["scenario"], said["requests"], (folder / NAME).stat().st_mtime, alive)
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None

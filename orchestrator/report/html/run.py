"""A run as the report sees it: its result, and the scenario it is of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...scenario.loading import load
from ..result import Result, Table

Floats = NDArray[np.float64]
SCENARIO_FILE = "scenario.yaml"
REQUESTS = "id instance input output arrival queued scheduled first_token end ttft tpot e2el preemptions prefix_hit"
SERIES = "prompt_throughput generation_throughput running waiting kv_used power_w"
#: what a page needs of result.json's ``metronome``
OWN = ("version", "status", "error", "seed", "scenario", "scenario_digest", "simulated_s", "components", "error_bars")

#: phases of a request: name, from which stamp to which, what it is
PHASES = (
    ("API server and input queue", "arrival", "queued", "from arrival until the engine takes the request"),
    ("waiting queue", "queued", "scheduled", "until it is first in a step"),
    ("prefill", "scheduled", "first_token", "until its first token is with the client"),
    ("decode", "first_token", "end", "until its last token; moving K and V and preemptions are in it"),
)


@dataclass(frozen=True)
class Run:
    """``label`` tells it from the others on the page; ``scenario`` is the content of scenario.yaml, None if absent."""

    label: str
    result: Result
    scenario: dict[str, Any] | None

    @property
    def own(self) -> dict[str, Any]:
        """What result.json has under ``metronome``."""
        found: dict[str, Any] = self.result.metrics["metronome"]
        return found

    def column(self, name: str) -> Floats:
        """A column of requests.csv; NaN where there is nothing."""
        return _floats(self.result.requests[name])

    @property
    def bin_s(self) -> int:
        """Width of the bins of timeseries.csv."""
        first = self.result.series["t"][:1]
        return int(first[0] or 1) if first and isinstance(first[0], int | float) else 1

    def series(self, name: str) -> Floats:
        """A column of timeseries.csv; NaN where there is nothing."""
        if name not in self.result.series.columns:
            return np.full(len(self.result.series), np.nan)
        return _floats(self.result.series[name])

    @cached_property
    def phases(self) -> list[Floats]:
        """Milliseconds of every request in each of PHASES; they add up to its latency."""
        return [(self.column(end) - self.column(start)) / 1e6 for _, start, end, _ in PHASES]


def _floats(cells: list[Any]) -> Floats:
    return np.array([np.nan if cell is None or cell == "" else cell for cell in cells], dtype=np.float64)


def read(folders: list[Path]) -> list[Run]:
    """The runs in ``folders``, labelled by what tells the folders apart. Raises InputError."""
    return [
        Run(label, _result(folder), _scenario(folder)) for label, folder in zip(_labels(folders), folders, strict=True)
    ]


def _result(folder: Path) -> Result:
    if not (folder / "result.json").is_file():
        raise InputError(str(folder), "result.json", None, "is missing: not the folder of a run")
    result = Result.read(folder)
    for name in OWN:
        if name not in result.metrics["metronome"]:
            raise InputError(str(folder / "result.json"), f"metronome.{name}", None, "is missing")
    _check(folder / "requests.csv", result.requests, REQUESTS, texts=("id", "instance"))
    _check(folder / "timeseries.csv", result.series, SERIES)
    return result


def _check(path: Path, table: Table, columns: str, texts: tuple[str, ...] = ()) -> None:
    if missing := [name for name in columns.split() if name not in table.columns]:
        raise InputError(str(path), ", ".join(missing), None, "columns are missing")
    for name in columns.split():
        try:
            _floats([] if name in texts else table[name])
        except ValueError as error:
            raise InputError(str(path), name, None, f"must be numbers: {error}") from None


def _scenario(folder: Path) -> dict[str, Any] | None:
    path = folder / SCENARIO_FILE
    return load(str(path))[0].model_dump(mode="json", exclude_none=True) if path.is_file() else None


def _labels(folders: list[Path]) -> list[str]:
    """Names of the folders, with as many parents as it takes to be unique; numbered where one is named twice."""
    paths = [folder.resolve().parts for folder in folders]
    longest = max(map(len, paths), default=0)
    for length in range(1, longest + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[-1]} ({number})" for number, parts in enumerate(paths, 1)]

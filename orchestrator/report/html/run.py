"""A run as the report sees it: its result, and the scenario it is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ...errors import InputError
from ..result import Result

Floats = NDArray[np.float64]
SCENARIO_FILE = "scenario.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: phases of a request: name, from which stamp to which, what it is
PHASES = (
    ("API server and input queue", "arrival", "queued", "from arrival until the engine takes the request"),
    ("waiting queue", "queued", "scheduled", "until it is first in a step"),
    ("prefill", "scheduled", "first_token", "until its first token is with the client"),
    ("decode", "first_token", "end", "until its last token; moving K and V and preemptions are in it"),
)


@dataclass(frozen=True, slots=True)
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

    def series(self, name: str) -> Floats:
        """A column of timeseries.csv; NaN where there is nothing."""
        return _floats(self.result.series[name])

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
    if not isinstance(result.metrics, dict) or "metronome" not in result.metrics:
        raise InputError(str(folder / "result.json"), "metronome", None, "is missing: not the result of a run")
    return result


def _scenario(folder: Path) -> dict[str, Any] | None:
    path = folder / SCENARIO_FILE
    if not path.is_file():
        return None
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(str(path), "scenario", None, f"cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise InputError(str(path), "scenario", data, "must be a mapping")
    return data


def _labels(folders: list[Path]) -> list[str]:
    """Names of the folders, with as many parents as it takes to be unique; numbered where one is named twice."""
    paths = [folder.resolve().parts for folder in folders]
    longest = max(map(len, paths), default=0)
    for length in range(1, longest + 1):
        names = ["/".join(parts[-length:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[-1]} ({number})" for number, parts in enumerate(paths, 1)]

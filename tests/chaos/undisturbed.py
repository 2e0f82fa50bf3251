"""Runs of a scenario whose components are disturbed, and what must be the same as without."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import metronome
from metronome.orchestrator.errors import RecoveryWarning

WALL = ("wall_s", "startup_s")


class Ran(NamedTuple):
    """``figures`` are what a run's results say of the simulated world; ``recoveries`` by component."""

    figures: tuple[Any, ...]
    recoveries: dict[str, int]
    recovery_s: float
    told: list[str]


def run(scenario: Any, folder: Path | None = None, **options: Any) -> Ran:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecoveryWarning)
        result = metronome.run(scenario, folder=folder, **options)
    return Ran(*figures(result), [str(w.message) for w in caught if w.category is RecoveryWarning])


def figures(result: Any) -> tuple[tuple[Any, ...], dict[str, int], float]:
    metrics = copy.deepcopy(result.metrics)
    own = metrics["metronome"]
    recoveries = {name: said.pop("recoveries", 0) for name, said in own["components"].items()}
    recovery_s = sum(said.pop("recovery_wall_s", 0.0) for said in own["components"].values())
    for said in own["components"].values():
        said.pop("wall_s")
        said.get("statistics", {}).get("surrogate", {}).pop("wall_calls", None)
        said["model"] = said["model"].removeprefix("chaos/")
    for name in (*WALL, "scenario_digest"):
        own.pop(name)
    return (metrics, result.requests.rows, result.series.rows, result.failures.rows), recoveries, recovery_s

"""One point, in whichever process: overrides in, a row of figures out."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any

from ..api import run
from ..errors import InputError, MetronomeError
from ..report.result import Result
from ..scenario.loading import load
from .costs import per_million, usd_per_hour

UNSTEADY = ("startup_s", "wall_s")  # figures of the machine, not of the scenario


def start() -> None:
    """In a process of its own: Ctrl-C is the parent's, who decides what is still wanted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def evaluate(source: str, overrides: dict[str, Any], prices: dict[str, float]) -> dict[str, Any]:
    """``status`` (complete, failed or refused), ``error`` and ``figures`` of one run; never raises for a bad point."""
    try:
        scenario, folder = load(source, overrides)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the first run of a sweep has said them
            result = run(scenario, folder=folder)
    except InputError as error:
        return {"status": "refused", "error": str(error), "figures": {}}
    except MetronomeError as error:
        partial = getattr(error, "result", None)
        found = figures(partial) if isinstance(partial, Result) else {}
        return {"status": "failed", "error": str(error), "figures": found}
    found = figures(result)
    hour = usd_per_hour(scenario, prices)
    found["usd_per_hour"] = hour
    found["usd_per_million_output_tokens"] = per_million(hour, result.metrics["output_throughput"])
    return {"status": result.status, "error": "", "figures": found}


def figures(result: Result) -> dict[str, Any]:
    """Every number of result.json; those under ``metronome`` by their own names."""
    own = result.metrics["metronome"]
    found = {name: value for name, value in result.metrics.items() if _is_number(value)}
    found |= {name: value for name, value in own.items() if _is_number(value) and name not in UNSTEADY}
    return found


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def folder_of(source: str) -> Path:
    """Where relative paths of a scenario start from."""
    return load(source)[1]

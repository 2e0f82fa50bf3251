"""Requests within the SLO over time: what a failure, or too few instances, took from the users."""

from __future__ import annotations

from typing import Any

import numpy as np

from .charts import Chart, Series, extent, line_label, rounded, rows
from .run import Floats, Run

BINS = 120


def goodput(runs: list[Run]) -> Chart | None:
    """Requests that arrive, and those of them within the scenario's SLO, a second; None where no run has an SLO, or
    classes of traffic have their own: requests.csv does not say who is of which. A run without an SLO has no line of
    what is within it."""
    if any(_has_classes(run) for run in runs):
        return None
    sent = [_arrivals(run) for run in runs]
    last = max((float(times.max()) for times, _ in sent if len(times)), default=0)
    if not last or not any(_limits(run) for run in runs):
        return None
    width = max(1.0, float(np.ceil(last / BINS)))
    edges = np.arange(0, last + width, width)
    lines = []
    for place, (run, (times, good)) in enumerate(zip(runs, sent, strict=True)):
        both = (("sent", times), ("within the SLO", times[good]))
        for kind, (label, mine) in enumerate(both if _limits(run) else both[:1]):
            counts = np.histogram(mine, edges)[0] / width
            lines.append(Series(line_label(run, label, runs, (0, 1)), place, kind, rounded(counts)))
    x = [float(edge) for edge in edges[1:]]
    about = "; ".join(f"{line.label}: {extent(line.values, 'requests/s')}" for line in lines)
    about += "".join(f"; {run.label} states no SLO" for run in runs if not _limits(run))
    return Chart(
        "goodput",
        "Requests within the SLO",
        f"{about}; a point is the requests that arrive in {width:g} s",
        "arrival, simulated s",
        "requests/s",
        x,
        lines,
        ["until, s", *(f"{line.label}, requests/s" for line in lines)],
        rows(x, lines),
    )


def _has_classes(run: Run) -> bool:
    workload: dict[str, Any] = (run.scenario or {}).get("workload") or {}
    return any(one.get("slo") for one in workload.get("classes") or ())


def _limits(run: Run) -> dict[str, float]:
    """By the column of requests.csv that they are of; ms."""
    slo: dict[str, Any] = (run.scenario or {}).get("slo") or {}
    return {key.removesuffix("_ms"): float(limit) for key, limit in slo.items() if limit is not None}


def _arrivals(run: Run) -> tuple[Floats, Any]:
    """When each request arrived, s, and whether it was served within the SLO."""
    done = run.column("arrival") / 1e9
    good = np.ones(len(done), dtype=bool)
    for column, limit in _limits(run).items():
        good &= ~(run.column(column) / 1e6 > limit)
    failures = run.result.failures
    failed = np.array(failures["arrival"], dtype=np.float64) / 1e9 if len(failures) else np.zeros(0)
    return np.concatenate([done, failed]), np.concatenate([good, np.zeros(len(failed), dtype=bool)])

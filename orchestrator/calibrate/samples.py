"""Samples of vLLM's metrics over time: sums and counts of its histograms, as its ``/metrics`` gives them.

Between two samples lie so many requests: those that gave their first token, or ended. Their number says which they are,
in that order, so no clock has to agree with the simulated one. Names: vllm/v1/metrics/loggers.py (0.19).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .observations import BLOCKS, Metric, Observations

#: histogram of seconds -> our metric; the first of each metric that is there counts
HISTOGRAMS = {
    "vllm:time_to_first_token_seconds": "ttft",
    "vllm:request_time_per_output_token_seconds": "tpot",
    "vllm:e2e_request_latency_seconds": "e2el",
}
Series = dict[str, list[tuple[float, float]]]  # name -> (time, value)


def of_csv(path: Path) -> Observations:
    """A column a series, by its name at ``/metrics``; a row a sample, in order of time."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(path), "LOG", None, f"cannot be read: {error}") from None
    found: Series = {}
    for number, row in enumerate(rows, 2):
        for name, text in row.items():
            if name and name.startswith("vllm:"):
                found.setdefault(name, []).append((number, _number(f"{path}:{number}", name, text)))
    return _observations(path, found)


def of_query(path: Path, data: Mapping[str, Any]) -> Observations:
    """The answer to a query_range of Prometheus: a matrix; series of several engines add up."""
    results = data["data"].get("result")
    if data["data"].get("resultType") != "matrix" or not isinstance(results, list):
        raise InputError(str(path), "data.resultType", data["data"].get("resultType"), "must be matrix: a query_range")
    sums: dict[str, dict[float, float]] = {}
    for number, series in enumerate(results):
        spot = f"data.result.{number}"
        try:
            name = str(series["metric"]["__name__"])
            values = [(float(t), _number(str(path), f"{spot}.values", str(v))) for t, v in series["values"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(str(path), spot, None, f"must have metric.__name__ and values: {error}") from None
        table = sums.setdefault(name, {})
        for time, value in values:
            table[time] = table.get(time, 0.0) + value
    return _observations(path, {name: sorted(table.items()) for name, table in sums.items()})


def _number(where: str, field: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(where, field, text, "must be a finite number")
    return value


def _observations(path: Path, series: Series) -> Observations:
    metrics: list[Metric] = []
    for histogram, name in HISTOGRAMS.items():
        total, count = series.get(f"{histogram}_sum"), series.get(f"{histogram}_count")
        if total is None or count is None or (name == "e2el" and any(m.name == "tpot" for m in metrics)):
            continue
        metrics.append(_metric(path, histogram, name, total, count))
    if not any(metric.name == "ttft" for metric in metrics) or len(metrics) < 2:
        names = ", ".join(f"{name}_sum and _count" for name in HISTOGRAMS)
        raise InputError(str(path), "series", None, f"TTFT and one more of {names} are needed")
    return Observations(tuple(metrics))


def _metric(
    path: Path, histogram: str, name: str, total: list[tuple[float, float]], count: list[tuple[float, float]]
) -> Metric:
    """Means between samples at which the count has grown; what was there before the first sample is left out."""
    sums, counts = dict(total), dict(count)
    at = sorted(sums.keys() & counts.keys())
    edges, real = [0], []
    for before, now in pairwise(at):
        grown = counts[now] - counts[before]
        if grown < 0:
            allowed = "falls: the server was started anew in between"
            raise InputError(str(path), f"{histogram}_count", counts[now], allowed)
        if grown:
            edges.append(edges[-1] + int(grown))
            real.append((sums[now] - sums[before]) / grown * 1e3)
    if len(real) < 2 * BLOCKS:
        raise InputError(str(path), histogram, len(real), f"at least {2 * BLOCKS} samples between which requests came")
    return Metric(name, np.array(real), np.array(edges, dtype=np.int64))

"""What a run is compared with: per-request times of a real vLLM, a `vllm bench serve` result, a run.

A vLLM ``requests.jsonl`` stamps arrival on the frontend's wall clock and everything else on the
engine's monotonic clock. The offset between the two is not recorded; it is taken as the smallest
(queued - arrival) of the run, that is, at least one request is assumed to have reached the engine at
once. Anchored at ``queued``, times start when the engine core took the request from its input queue,
which it does between steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from .metrics import PERCENTILES, Floats, summary
from .result import Cell, Result, Table

METRICS = ("ttft_ms", "tpot_ms", "e2el_ms")


@dataclass(frozen=True, slots=True)
class Times:
    """Per-request milliseconds by request id, and the time from first arrival to last token, s."""

    ids: tuple[str, ...]
    ttft_ms: Floats
    tpot_ms: Floats
    e2el_ms: Floats
    makespan_s: float


@dataclass(frozen=True, slots=True)
class Reference:
    """``figures``: mean_ttft_ms and so on, as far as known; ``times`` where requests are known one by one."""

    figures: dict[str, float]
    times: Times | None


def read(path: Path, anchor: str) -> Reference:
    """A run folder, a requests.jsonl or a result JSON. ``anchor`` is ``arrival`` or ``queued``."""
    if path.is_dir():
        return _of_times(_read_run(path, anchor))
    if not path.is_file():
        raise InputError(str(path), "REFERENCE", None, "no such file or folder")
    if path.suffix == ".jsonl":
        return _of_times(_read_vllm(path, anchor))
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(str(path), "REFERENCE", None, f"is not JSON: {error}") from None
    figures = (
        {key: float(value) for key, value in data.items() if isinstance(value, int | float)}
        if isinstance(data, dict)
        else {}
    )
    if "mean_ttft_ms" not in figures:
        raise InputError(str(path), "mean_ttft_ms", None, "is missing: not a `vllm bench serve` result")
    if "duration" in figures:
        figures["makespan_s"] = figures["duration"]
    return Reference(figures, None)


def _of_times(times: Times) -> Reference:
    figures: dict[str, float] = {"makespan_s": times.makespan_s}
    for metric in METRICS:
        figures |= {k: v for k, v in summary(metric, getattr(times, metric)).items() if v is not None}
    return Reference(figures, times)


def of_result(result: Result, anchor: str) -> Reference:
    """A run's result, as `read` of its folder."""
    return _of_times(_of_run(result.requests, anchor, "result"))


def _read_run(folder: Path, anchor: str) -> Times:
    path = folder / "requests.csv"
    if not path.is_file():
        raise InputError(str(folder), "requests.csv", None, "is missing: not the folder of a run")
    return _of_run(Table.read(path), anchor, str(path))


def _of_run(requests: Table, anchor: str, where: str) -> Times:
    def whole(row: dict[str, Cell], column: str) -> int:
        value = row[column]
        if value is not None and not isinstance(value, int):
            raise InputError(where, column, value, "must be a whole number")
        return value or 0

    def seconds(row: dict[str, Cell], column: str) -> float:
        return whole(row, column) / 1e9

    for column in ("id", "arrival", "queued", "first_token", "end", "output"):
        if column not in requests.columns:
            raise InputError(where, column, None, "this column is missing")
    start = "arrival" if anchor == "arrival" else "queued"
    return _times(
        [
            (
                str(row["id"]),
                seconds(row, start),
                seconds(row, "first_token"),
                seconds(row, "end"),
                whole(row, "output"),
                seconds(row, "arrival"),
            )
            for row in requests
        ],
        where,
    )


def _read_vllm(path: Path, anchor: str) -> Times:
    rows = []
    needed = ("request_id", "output_toks", "arrival_time", "queued_ts", "first_token_ts", "last_token_ts")
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}:{number}", "line", None, f"is not JSON: {error}") from None
        for field in needed:
            value = row.get(field) if isinstance(row, dict) else None
            if not isinstance(value, str if field == "request_id" else int | float) or isinstance(value, bool):
                raise InputError(f"{path}:{number}", field, value, "is missing, or of another type")
        rows.append(row)
    offset = min((row["queued_ts"] - row["arrival_time"] for row in rows), default=0)
    start: Callable[[Any], float] = (
        (lambda row: row["arrival_time"] + offset) if anchor == "arrival" else (lambda row: row["queued_ts"])
    )
    return _times(
        [
            (
                row["request_id"].rpartition("-")[2],
                start(row),
                row["first_token_ts"],
                row["last_token_ts"],
                row["output_toks"],
                row["arrival_time"] + offset,
            )
            for row in rows
        ],
        str(path),
    )


def _times(rows: list[tuple[str, float, float, float, int, float]], where: str) -> Times:
    """From (id, start, first token, end, output tokens, arrival), seconds."""
    if not rows:
        raise InputError(where, "requests", None, "there are none")
    ids = tuple(row[0] for row in rows)
    start, first, end, output, arrival = (np.array([row[i] for row in rows], dtype=float) for i in range(1, 6))
    with np.errstate(divide="ignore", invalid="ignore"):
        tpot = np.where(output > 1, (end - first) / (output - 1), np.nan)
    return Times(ids, (first - start) * 1e3, tpot * 1e3, (end - start) * 1e3, float(end.max() - arrival.min()))


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of both sides; ``error`` is (run - reference) / reference."""

    metric: str
    reference: float
    run: float
    error: float


def compare(run: Reference, reference: Reference) -> tuple[list[ComparedFigure], dict[str, float]]:
    """Every figure both have, and the mean absolute percentage error over matching requests."""
    rows = []
    for metric in METRICS:
        for what in ("mean", *(name for name, _ in PERCENTILES)):
            key = f"{what}_{metric}"
            if reference.figures.get(key) and key in run.figures:
                rows.append(_row(key, reference, run))
    if reference.figures.get("makespan_s") and "makespan_s" in run.figures:
        rows.append(_row("makespan_s", reference, run))
    return rows, _mape(run.times, reference.times)


def _row(key: str, reference: Reference, run: Reference) -> ComparedFigure:
    real, simulated = reference.figures[key], run.figures[key]
    return ComparedFigure(key, real, simulated, (simulated - real) / real)


def _mape(run: Times | None, reference: Times | None) -> dict[str, float]:
    if run is None or reference is None:
        return {}
    place = {name: i for i, name in enumerate(run.ids)}
    pairs = [(i, place[name]) for i, name in enumerate(reference.ids) if name in place]
    if not pairs:
        return {}
    there, here = np.array(pairs).T
    result = {"matched_requests": float(len(pairs))}
    for metric in METRICS:
        real, simulated = getattr(reference, metric)[there], getattr(run, metric)[here]
        use = ~(np.isnan(real) | np.isnan(simulated)) & (real > 0)
        if use.any():
            result[f"mape_{metric}"] = float(np.mean(np.abs(simulated[use] - real[use]) / real[use]))
    return result

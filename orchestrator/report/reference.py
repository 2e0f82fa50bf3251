"""What a run is compared with: per-request times of a real vLLM, a benchmark client's result, a run.

A vLLM ``requests.jsonl`` stamps arrival on the frontend's wall clock and everything else on the
engine's monotonic clock. The offset between the two is not recorded; it is taken as the smallest
(queued - arrival) of the run, that is, at least one request is assumed to have reached the engine at
once. Anchored at ``queued``, times start when the engine core took the request from its input queue,
which it does between steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from . import benchmark_files
from .benchmark_files import Sample
from .metrics import PERCENTILES, Floats, summary
from .result import Cell, Result, Table

STATISTICS = ("mean", *(name for name, _ in PERCENTILES))
METRICS = ("ttft_ms", "tpot_ms", "e2el_ms")
WHOLE = ("request_throughput", "output_throughput", "total_token_throughput")
#: mean lengths that differ by more are another workload
SAME_LENGTH = 0.01


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
    """``figures``: mean_ttft_ms and so on, as far as known; ``times`` where requests are known one by one.

    ``sample`` is what was measured; ``queued`` whether its times can start at the engine's queue.
    """

    figures: dict[str, float]
    times: Times | None
    sample: Sample = field(default_factory=Sample)
    queued: bool = True


def read(path: Path, anchor: str, entry: int | None = None) -> Reference:
    """A run's folder, a requests.jsonl, or a benchmark client's result, of which ``entry`` (from 1) chooses one.

    ``anchor`` is ``arrival`` or ``queued``. Raises InputError.
    """
    if path.is_dir():
        return _read_run(path, anchor)
    if not path.is_file():
        raise InputError(str(path), "REFERENCE", None, "no such file or folder")
    if path.suffix == ".jsonl":
        lines = _lines(path)
        looks = lines[0] if lines else ""
        if '"metadata"' in looks and '"metrics"' in looks:
            rows, sample = benchmark_files.aiperf_records(path, lines)
            return replace(_of_times(_times(rows, str(path))), sample=sample, queued=False)
        if '"mean_ttft_ms"' not in looks:
            return _read_vllm(path, lines, anchor)
    found = benchmark_files.read(path, entry)
    return Reference(found.figures, None, found.sample, queued=False)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "REFERENCE", None, f"cannot be read: {error}") from None


def _of_times(times: Times) -> Reference:
    figures: dict[str, float] = {"makespan_s": times.makespan_s}
    for metric in METRICS:
        figures |= {k: v for k, v in summary(metric, getattr(times, metric)).items() if v is not None}
    return Reference(figures, times)


def of_result(result: Result, anchor: str) -> Reference:
    """A run's result, as `read` of its folder."""
    return _of_run(result.requests, anchor, "result", result.metrics)


def _read_run(folder: Path, anchor: str) -> Reference:
    path, whole = folder / "requests.csv", folder / "result.json"
    if not path.is_file():
        raise InputError(str(folder), "requests.csv", None, "is missing: not the folder of a run")
    metrics = Result.read(folder).metrics if whole.is_file() else {}
    return _of_run(Table.read(path), anchor, str(path), metrics)


def _of_run(requests: Table, anchor: str, where: str, metrics: Mapping[str, Any]) -> Reference:
    """A run: times from its requests, gaps between tokens and throughput from its result."""
    found = _of_times(_run_times(requests, anchor, where))
    for key in (*WHOLE, *(f"{what}_itl_ms" for what in STATISTICS)):
        if isinstance(metrics.get(key), int | float):
            found.figures[key] = float(metrics[key])
    model, count = metrics.get("model_id"), len(requests)
    inputs = _mean(requests, "input", where) if "input" in requests.columns else None
    outputs = _mean(requests, "output", where)
    return replace(found, sample=Sample(model if isinstance(model, str) else None, count, inputs, outputs))


def _mean(requests: Table, column: str, where: str) -> float:
    return sum(_whole(value, column, where) for value in requests[column]) / len(requests)


def _whole(value: Cell, column: str, where: str) -> int:
    if value is not None and not isinstance(value, int):
        raise InputError(where, column, value, "must be a whole number")
    return value or 0


def _run_times(requests: Table, anchor: str, where: str) -> Times:
    def seconds(row: dict[str, Cell], column: str) -> float:
        return _whole(row[column], column, where) / 1e9

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
                _whole(row["output"], "output", where),
                seconds(row, "arrival"),
            )
            for row in requests
        ],
        where,
    )


def _read_vllm(path: Path, lines: list[str], anchor: str) -> Reference:
    rows = []
    needed = ("request_id", "output_toks", "arrival_time", "queued_ts", "first_token_ts", "last_token_ts")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}:{number}", "line", None, f"is not JSON: {error}") from None
        for name in needed:
            value = row.get(name) if isinstance(row, dict) else None
            if not isinstance(value, str if name == "request_id" else int | float) or isinstance(value, bool):
                raise InputError(f"{path}:{number}", name, value, "is missing, or of another type")
        rows.append(row)
    offset = min((row["queued_ts"] - row["arrival_time"] for row in rows), default=0)
    start: Callable[[Any], float] = (
        (lambda row: row["arrival_time"] + offset) if anchor == "arrival" else (lambda row: row["queued_ts"])
    )
    times = _times(
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
    inputs = [row["input_toks"] for row in rows if isinstance(row.get("input_toks"), int)]
    means = [sum(lengths) / len(lengths) if lengths else None for lengths in (inputs, [r["output_toks"] for r in rows])]
    return replace(_of_times(times), sample=Sample(None, len(rows), means[0], means[1]))


def _times(rows: list[tuple[Any, ...]], where: str) -> Times:
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
    """Every figure both have, and the mean absolute percentage error over matching requests.

    Raises InputError where they have none in common."""
    keys = [f"{what}_{metric}" for metric in (*METRICS, "itl_ms") for what in STATISTICS]
    rows = [
        _row(key, reference, run)
        for key in (*keys, *WHOLE, "makespan_s")
        if reference.figures.get(key) and key in run.figures
    ]
    if not rows:
        raise InputError("REFERENCE", "figures", None, f"has none of those of a run: {', '.join((*METRICS, *WHOLE))}")
    return rows, _mape(run.times, reference.times)


def warnings(run: Reference, reference: Reference, anchor: str = "arrival") -> list[str]:
    """Why the two may not be of the same thing."""
    one, other = run.sample, reference.sample
    found = []
    if one.model and other.model and _bare(one.model) != _bare(other.model):
        found.append(f"the models differ: run {one.model}, reference {other.model}")
    if None not in (one.completed, other.completed) and one.completed != other.completed:
        found.append(f"the numbers of requests differ: run {one.completed:,}, reference {other.completed:,}")
    for what, ours, theirs in (
        ("prompts", one.input_tokens, other.input_tokens),
        ("answers", one.output_tokens, other.output_tokens),
    ):
        if ours is not None and theirs and abs(ours / theirs - 1) > SAME_LENGTH:
            found.append(f"the {what} differ: run {ours:,.1f} tokens in the mean, reference {theirs:,.1f}")
    found += other.remarks
    if anchor == "queued" and not reference.queued:
        found.append("the reference is a client's: its times start when it sends, whatever --anchor")
    return found


def _bare(model: str) -> str:
    """A model's name without its organisation, folder, ending."""
    return model.rstrip("/").removesuffix("/config.json").removesuffix(".json").rpartition("/")[2].casefold()


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

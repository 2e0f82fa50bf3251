"""Result files of benchmark clients: vLLM's `bench serve`, AIPerf, GuideLLM; each by its own definitions.

What AIPerf calls ``inter_token_latency`` and GuideLLM ``inter_token_latency_ms`` is a request's mean without its first
token: our TPOT. GuideLLM's ``time_per_output_token_ms`` counts the first token in, which nobody else does: it is left
out.
Sources: vllm/benchmarks/serve.py (0.19), aiperf/exporters (0.13), guidellm/benchmark/schemas (0.8).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ..errors import InputError

STATISTICS = {"avg": "mean", "p50": "median", "p90": "p90", "p95": "p95", "p99": "p99"}
#: AIPerf's tag -> what we call it; those with statistics, and those of the whole
AIPERF = {"time_to_first_token": "ttft_ms", "inter_token_latency": "tpot_ms", "request_latency": "e2el_ms"}
AIPERF_WHOLE = {
    "request_throughput": "request_throughput",
    "output_token_throughput": "output_throughput",
    "total_token_throughput": "total_token_throughput",
    "benchmark_duration": "makespan_s",
}
AIPERF_LENGTHS = {"input_sequence_length": "input", "output_sequence_length": "output"}
AIPERF_COUNTS = ("request_count", "error_request_count")
#: AIPerf's words in its CSV -> its tags
AIPERF_CSV = {tag.replace("_", " "): tag for tag in (*AIPERF, *AIPERF_WHOLE, *AIPERF_LENGTHS, *AIPERF_COUNTS)}
AIPERF_CSV["time to first token"] = "time_to_first_token"
GUIDELLM = {"time_to_first_token_ms": "ttft_ms", "inter_token_latency_ms": "tpot_ms", "request_latency": "e2el_ms"}
GUIDELLM_WHOLE = {
    "requests_per_second": "request_throughput",
    "output_tokens_per_second": "output_throughput",
    "tokens_per_second": "total_token_throughput",
}
TO_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "sec": 1e3, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured: the model, requests served, mean tokens of a prompt and of an answer, as far as known.

    ``remarks``: what else a reader should know of it before comparing. ``from_first``: whether its rates are over the
    time from the first arrival, and not from the start of the client, to the last token."""

    model: str | None = None
    completed: int | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    remarks: tuple[str, ...] = ()
    from_first: bool = False


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One result: ``mean_ttft_ms`` and so on, what it is of, and what tells it from others of its file."""

    figures: dict[str, float]
    sample: Sample
    label: str


def read(path: Path, entry: int | None) -> Benchmark:
    """The result in a file; ``entry`` (from 1) chooses among several. Raises InputError."""
    found = _aiperf_csv(path) if path.suffix == ".csv" else [_one(path, data) for data in _objects(path)]
    found = [benchmark for part in found for benchmark in (part if isinstance(part, list) else [part])]
    if not found:
        raise InputError(str(path), "REFERENCE", None, "is empty")
    if entry is None and len(found) > 1:
        labels = "; ".join(f"{i} is {one.label}" for i, one in enumerate(found, 1))
        raise InputError(str(path), "--entry", None, f"the file holds {len(found)} results: choose one ({labels})")
    if not 1 <= (entry or 1) <= len(found):
        raise InputError(str(path), "--entry", entry, f"must be from 1 to {len(found)}")
    return found[(entry or 1) - 1]


def _objects(path: Path) -> Iterator[Any]:
    """Every JSON value of a file: `bench serve --append-result` writes one after another."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), "REFERENCE", None, f"cannot be read: {error}") from None
    decoder, place = json.JSONDecoder(), 0
    while text[place:].strip():
        place += len(text[place:]) - len(text[place:].lstrip())
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise InputError(str(path), "REFERENCE", None, f"is not JSON: {error}") from None
        yield value


def _one(path: Path, data: Any) -> Benchmark | list[Benchmark]:
    """The results that one JSON value holds, by its looks."""
    if isinstance(data, dict):
        if isinstance(data.get("benchmarks"), list) and data["benchmarks"]:
            return [_guidellm(path, i, data, benchmark) for i, benchmark in enumerate(data["benchmarks"])]
        if isinstance(data.get("time_to_first_token"), dict) or isinstance(data.get("request_latency"), dict):
            return _aiperf(path, data)
        if _number(data.get("mean_ttft_ms")) is not None:
            return _vllm(data)
        if "mean_ttft_ms" in data:
            value = data["mean_ttft_ms"]
            raise InputError(str(path), "mean_ttft_ms", value, f"{'is null: ' * (value is None)}must be a number of ms")
    allowed = "is missing: no result of `vllm bench serve`, AIPerf or GuideLLM"
    raise InputError(str(path), "mean_ttft_ms", None, allowed)


def _number(value: Any) -> float | None:
    """None for what is no finite number: clients write NaN where they have measured nothing."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) else None


def _failed(count: float | None) -> tuple[str, ...]:
    return (f"requests of the reference that failed: {int(count):,}; its times are without them",) if count else ()


def _vllm(data: dict[str, Any]) -> Benchmark:
    figures = {key: number for key, value in data.items() if (number := _number(value)) is not None}
    if "duration" in figures:
        figures["makespan_s"] = figures["duration"]
    completed = figures.get("completed")
    means = [
        figures[total] / completed if completed and total in figures else None
        for total in ("total_input_tokens", "total_output_tokens")
    ]
    model = data.get("model_id")
    remarks = _failed(figures.get("failed"))
    if (accepted := figures.get("spec_decode_acceptance_length")) is not None:
        remarks += (f"the reference decodes speculatively, {accepted:.2f} tokens a step: that is not simulated",)
    name = model if isinstance(model, str) else None
    sample = Sample(name, None if completed is None else int(completed), means[0], means[1], remarks)
    said = [f"{key} {data[key]}" for key in ("request_rate", "max_concurrency", "date") if data.get(key) is not None]
    return Benchmark(figures, sample, ", ".join(said) or "without a rate")


def _aiperf(path: Path, data: dict[str, Any]) -> Benchmark:
    """Statistics by tag: {unit, avg, p50, ...}."""

    def table(tag: str) -> dict[str, Any]:
        found = data.get(tag)
        return found if isinstance(found, dict) else {}

    figures: dict[str, float] = {}
    for tag, name in AIPERF.items():
        factor = _factor(path, tag, table(tag))
        for theirs, ours in STATISTICS.items():
            if (value := _number(table(tag).get(theirs))) is not None:
                figures[f"{ours}_{name}"] = value * factor
    for tag, name in AIPERF_WHOLE.items():
        if (value := _number(table(tag).get("avg"))) is not None:
            figures[name] = value * (_factor(path, tag, table(tag)) / 1e3 if name == "makespan_s" else 1)
    count = _number(table("request_count").get("avg"))
    lengths = [_number(table(tag).get("avg")) for tag in AIPERF_LENGTHS]
    remarks = _failed(_number(table("error_request_count").get("avg")))
    sample = Sample(_aiperf_model(data), None if count is None else int(count), lengths[0], lengths[1], remarks, True)
    return Benchmark(figures, sample, "the only one")


def _factor(path: Path, tag: str, table: dict[str, Any]) -> float:
    """From a tag's unit to ms."""
    unit = table.get("unit", "ms")
    if unit not in TO_MS:
        raise InputError(str(path), f"{tag}.unit", unit, f"must be one of {', '.join(TO_MS)}")
    return TO_MS[unit]


def _aiperf_model(data: dict[str, Any]) -> str | None:
    """Its configuration names models as ``models.items``, older ones as ``endpoint.model_names``."""
    spot: Any = data.get("input_config")
    for keys in (("models", "items", 0, "name"), ("endpoint", "model_names", 0)):
        value = spot
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                value = None
                break
        if isinstance(value, str):
            return value
    return None


def _aiperf_csv(path: Path) -> list[Benchmark]:
    """Two tables, ``Metric,avg,min,...`` and ``Metric,Value``; names carry their unit."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(str(path), "REFERENCE", None, f"cannot be read: {error}") from None
    if not rows or rows[0][:1] != ["Metric"]:
        allowed = "is no CSV of AIPerf; of GuideLLM give benchmarks.json, of a run its folder"
        raise InputError(str(path), "REFERENCE", None, allowed)
    data: dict[str, Any] = {}
    header: list[str] = []
    for row in rows:
        if row[:1] == ["Metric"]:
            header = ["avg" if cell == "Value" else cell for cell in row]
            continue
        if not row:
            continue
        if row[0] == "Endpoint":  # what its devices were at, from here on
            break
        name, _, unit = row[0].partition(" (")
        if tag := AIPERF_CSV.get(name.lower()):
            cells = {key: _cell(text) for key, text in zip(header[1:], row[1:], strict=False)}
            data[tag] = {"unit": unit.rstrip(")") or "ms", **cells}
    return [_aiperf(path, data)]


def _cell(text: str) -> float | None:
    """GenAI-Perf writes 1,146.31."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


#: where GuideLLM names the model: 0.8, 0.2, and in the arguments of the whole report, 0.4
GUIDELLM_MODEL = (("config", "backend", "model"), ("worker", "backend_model"))
GUIDELLM_COUNTS = (("metrics", "request_totals"), ("request_totals",), ("run_stats", "requests_made"))
UNCOUNTED = "the reference does not say how many of its requests were served, or failed"


def _below(spot: Any, *keys: str) -> Any:
    """What is below these keys; None where it is not."""
    for key in keys:
        spot = spot.get(key) if isinstance(spot, dict) else None
    return spot


def _guidellm(path: Path, number: int, report: dict[str, Any], benchmark: Any) -> Benchmark:
    """One of a report's ``benchmarks``: of successful requests."""
    metrics = benchmark.get("metrics") if isinstance(benchmark, dict) else None
    if not isinstance(metrics, dict) or not isinstance(metrics.get("time_to_first_token_ms"), dict):
        spot = f"benchmarks.{number}.metrics.time_to_first_token_ms"
        raise InputError(str(path), spot, None, "is missing: no result of GuideLLM")

    def successful(name: str) -> dict[str, Any]:
        table = metrics.get(name)
        found = table.get("successful") if isinstance(table, dict) else None
        return found if isinstance(found, dict) else {}

    figures: dict[str, float] = {}
    for name, ours in GUIDELLM.items():
        table, factor = successful(name), 1e3 if name == "request_latency" else 1.0
        percentiles = table.get("percentiles")
        table = {**percentiles, **table} if isinstance(percentiles, dict) else table
        for statistic in ("mean", "median", "p90", "p95", "p99"):
            value = _number(table.get(statistic))
            if value is not None:
                figures[f"{statistic}_{ours}"] = value * factor
    for name, ours in GUIDELLM_WHOLE.items():
        if (value := _number(successful(name).get("mean"))) is not None:
            figures[ours] = value
    totals = next((found for keys in GUIDELLM_COUNTS if isinstance(found := _below(benchmark, *keys), dict)), {})
    count = _number(totals.get("successful"))
    lengths = [_number(successful(name).get("mean")) for name in ("prompt_token_count", "output_token_count")]
    names = [*(_below(benchmark, *keys) for keys in GUIDELLM_MODEL), _below(report, "args", "model")]
    model = next((name for name in names if isinstance(name, str)), None)
    remarks = (UNCOUNTED,) if count is None else _failed(_number(totals.get("errored")))
    sample = Sample(model, None if count is None else int(count), lengths[0], lengths[1], remarks)
    rate = successful("requests_per_second").get("mean")
    return Benchmark(figures, sample, f"{rate:.2f} requests/s" if _number(rate) is not None else "without a rate")


def aiperf_records(path: Path, lines: list[str]) -> tuple[list[tuple[Any, ...]], Sample]:
    """(id, start, first token, end, output tokens, arrival) in s, a line of ``profile_export.jsonl`` each; of what.

    Requests of the warm-up, and those that failed, are left out. Raises InputError.
    """
    rows: list[tuple[Any, ...]] = []
    inputs: list[float] = []
    failed = 0
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        record = _parsed(where, line)
        metadata = record.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(record.get("metrics"), dict):
            raise InputError(where, "metadata, metrics", None, "are missing: no record of AIPerf")
        if metadata.get("benchmark_phase") == "warmup":
            continue
        if record.get("error") or metadata.get("was_cancelled"):
            failed += 1
            continue
        of = _reader(path, where, record["metrics"])
        start = _number(metadata.get("request_start_ns"))
        if start is None:
            raise InputError(where, "metadata.request_start_ns", None, "is missing")
        latency, outputs = of("request_latency"), of("output_sequence_length")
        first = latency if "time_to_first_token" not in record["metrics"] else of("time_to_first_token")
        if "input_sequence_length" in record["metrics"]:
            inputs.append(of("input_sequence_length"))
        began = start / 1e9
        name = str(metadata.get("x_request_id") or metadata.get("session_num"))
        rows.append((name, began, began + first / 1e3, began + latency / 1e3, int(outputs), began))
    mean = sum(inputs) / len(inputs) if inputs else None
    outputs_mean = sum(row[4] for row in rows) / len(rows) if rows else None
    return rows, Sample(None, len(rows), mean, outputs_mean, _failed(failed))


def _parsed(where: str, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(where, "line", None, f"is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InputError(where, "line", None, "is no record")
    return record


def _reader(path: Path, where: str, metrics: dict[str, Any]) -> Callable[[str], float]:
    """A metric's value by tag, times in ms."""

    def value(tag: str) -> float:
        table = metrics.get(tag)
        number = _number(table.get("value")) if isinstance(table, dict) else None
        if table is None or number is None:
            raise InputError(where, f"metrics.{tag}", None, "is missing, or no number")
        return number if tag in AIPERF_LENGTHS else number * _factor(path, tag, table)

    return value

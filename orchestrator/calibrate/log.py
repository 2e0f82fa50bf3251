"""Logs of real servers and their clients, request by request or sample by sample."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..report import reference
from . import samples
from .observations import Floats, Ints, Metric, Observations

FEWEST = 40  # requests: ten blocks of four
KINDS = (
    "a vLLM requests.jsonl, AIPerf's profile_export.jsonl, a result of `vllm bench serve --save-result "
    "--save-detailed`, or samples of vLLM's metrics (CSV, or JSON of Prometheus's query_range)"
)


@dataclass(frozen=True, slots=True)
class Log:
    """One log; requests in order of arrival, where it has them.

    Attributes:
        kind: what it is, in words.
        inputs, outputs: tokens of each request; None where it does not say.
        arrival_s: when each was sent, the first at 0; None where it does not say.
        left_out: requests that failed.
    """

    path: Path
    kind: str
    observations: Observations
    outputs: Ints | None = None
    inputs: Ints | None = None
    arrival_s: Floats | None = None
    left_out: int = 0


def read(path: Path) -> Log:
    """Raises InputError for what is none of `KINDS`, or has fewer than 40 requests."""
    if not path.is_file():
        raise InputError(str(path), "LOG", None, "no such file")
    if path.suffix == ".csv":
        return Log(path, "samples of vLLM's metrics", samples.of_csv(path))
    if path.suffix == ".jsonl":
        return _lines(path)
    data = _json(path)
    if isinstance(data.get("data"), dict):
        return Log(path, "samples of vLLM's metrics", samples.of_query(path, data))
    if isinstance(data.get("ttfts"), list):
        return _detailed(path, data)
    allowed = f"is none of {KINDS}; a result without single requests cannot do"
    if "metronome" in data:
        allowed = "is a run's result, without single requests: `metronome report --format aiperf` of its folder writes "
        allowed += "profile_export.jsonl, which has them"
    raise InputError(str(path), "LOG", None, allowed)


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(str(path), "LOG", None, f"is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise InputError(str(path), "LOG", None, f"is none of {KINDS}")
    return data


def _lines(path: Path) -> Log:
    """A record a line; `reference` checks what `compare` needs of them, too."""
    times = reference.read(path, "arrival").times
    if times is None:
        raise InputError(str(path), "LOG", None, f"is none of {KINDS}")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    aiperf = "metrics" in records[0]
    by_id = {_id(record): record for record in records}
    rows = [by_id[name] for name in times.ids]
    if aiperf:
        starts = [row["metadata"]["request_start_ns"] / 1e9 for row in rows]
        tags = ("output_sequence_length", "input_sequence_length")
        outputs, inputs = ([_tag(row, tag) for row in rows] for tag in tags)
    else:
        starts = [row["arrival_time"] for row in rows]
        outputs, inputs = [row["output_toks"] for row in rows], [row.get("input_toks") for row in rows]
    kind = "records of AIPerf" if aiperf else "requests of vLLM"
    return _of_requests(path, kind, times.ttft_ms, times.tpot_ms, (outputs, inputs), starts, len(records) - len(rows))


def _id(record: dict[str, Any]) -> str:
    """As `reference` calls it."""
    if "metadata" in record:
        return str(record["metadata"].get("x_request_id") or record["metadata"].get("session_num"))
    return str(record["request_id"]).rpartition("-")[2]


def _tag(record: dict[str, Any], tag: str) -> Any:
    table = record["metrics"].get(tag)
    return table.get("value") if isinstance(table, dict) else None


def _detailed(path: Path, data: dict[str, Any]) -> Log:
    """Lists by request of `vllm bench serve --save-detailed`; TPOT as there, the mean of the gaps between tokens."""
    needed = ("ttfts", "itls", "input_lens", "output_lens")
    for name in needed:
        if not isinstance(data.get(name), list) or len(data[name]) != len(data["ttfts"]):
            allowed = f"must be a list of {len(data['ttfts'])}: save it with --save-detailed"
            raise InputError(str(path), name, None, allowed)
    errors = data.get("errors")
    if not isinstance(errors, list) or len(errors) != len(data["ttfts"]):  # older versions have none
        errors = [""] * len(data["ttfts"])
    good = [i for i, output in enumerate(data["output_lens"]) if output and not errors[i]]
    try:
        ttft = np.array([data["ttfts"][i] for i in good], dtype=float) * 1e3
        outputs = [data["output_lens"][i] for i in good]
        spans = [sum(data["itls"][i]) for i in good]
        tpot = np.array([s / (n - 1) if n > 1 else np.nan for s, n in zip(spans, outputs, strict=True)]) * 1e3
    except (TypeError, ValueError) as error:
        raise InputError(str(path), "ttfts, itls", None, f"must be seconds: {error}") from None
    starts = data.get("start_times")
    sent = [starts[i] for i in good] if isinstance(starts, list) and len(starts) == len(data["ttfts"]) else None
    inputs = [data["input_lens"][i] for i in good]
    kind = "a detailed result of vLLM's benchmark"
    return _of_requests(path, kind, ttft, tpot, (outputs, inputs), sent, len(data["ttfts"]) - len(good))


def _of_requests(
    path: Path,
    kind: str,
    ttft: Floats,
    tpot: Floats,
    lengths: tuple[list[Any], list[Any]],
    starts: list[float] | None,
    left_out: int,
) -> Log:
    if len(ttft) < FEWEST:
        raise InputError(str(path), "requests", len(ttft), f"at least {FEWEST} must have succeeded")
    outputs, inputs = (_counts(path, values) for values in lengths)
    if outputs is None:
        raise InputError(str(path), "output tokens", None, "must be known of every request")
    try:
        arrival = None if starts is None else np.array(starts, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(str(path), "start_times", None, f"must be seconds: {error}") from None
    order = np.arange(len(ttft)) if arrival is None else np.argsort(arrival, kind="stable")
    return Log(
        path,
        kind,
        Observations((Metric("ttft", ttft[order]), Metric("tpot", tpot[order]))),
        outputs[order],
        None if inputs is None else inputs[order],
        None if arrival is None else (arrival - arrival.min())[order],
        left_out,
    )


def _counts(path: Path, values: list[Any]) -> Ints | None:
    """Whole numbers, or None where one is not given."""
    if any(value is None for value in values):
        return None
    try:
        return np.array([int(value) for value in values], dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise InputError(str(path), "tokens", None, f"must be whole numbers: {error}") from None

"""AIPerf's ``profile_export_aiperf.json`` and ``profile_export.jsonl`` (ai-dynamo/aiperf, schema of 0.13).

Tags, units and definitions are AIPerf's: rates are over the time from the first arrival to the last token, the
inter-token latency is a request's mean, one-token requests have none. A client's clock is the simulated one, from 0.
Energies are those of accelerators, where all are of one make that AIPerf reads. What a run does not keep is left out:
the time to the second token, chunks, and good requests by instance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ..result import Cell, Result

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
UNITS = {
    "time_to_first_token": "ms",
    "request_latency": "ms",
    "inter_token_latency": "ms",
    "output_token_throughput_per_user": "tokens/sec/user",
    "prefill_throughput_per_user": "tokens/sec/user",
    "input_sequence_length": "tokens",
    "output_sequence_length": "tokens",
}
RequestRow = dict[str, Cell]


def write(result: Result, folder: Path) -> list[Path]:
    """Both files, and a summary of each instance where there are several. Returns what was written. Raises OSError."""
    rows = list(result.requests)
    whole = summary(result, rows)
    files = {"profile_export_aiperf.json": _json(whole | _goodput(result, whole) | _energy(result))}
    names = sorted({str(row["instance"]) for row in rows})
    for name in names if len(names) > 1 else ():
        ours = [row for row in rows if row["instance"] == name]
        safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name)
        files[f"profile_export_aiperf.{safe}.json"] = _json(summary(result, ours))
    files["profile_export.jsonl"] = b"".join(orjson.dumps(record) + b"\n" for record in records(rows))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def _json(data: dict[str, Any]) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_INDENT_2) + b"\n"


def summary(result: Result, rows: list[RequestRow]) -> dict[str, Any]:
    """Statistics of the requests in ``rows``."""
    each = [_metrics(row) for row in rows]
    data: dict[str, Any] = {
        "generator": f"metronome {result['metronome']['version']}",
        "was_cancelled": result.status == "interrupted",
        "error_summary": [],
        "input_config": {"models": {"items": [{"name": result["model_id"]}]}},
    }
    for tag, unit in UNITS.items():
        values = np.array([metrics[tag] for metrics in each if tag in metrics], dtype=float)
        if len(values):
            data[tag] = _statistics(values, unit)
    return data | _totals(rows)


def _totals(rows: list[RequestRow]) -> dict[str, Any]:
    """Figures of the whole, which have an ``avg`` only."""
    if not rows:
        return {"request_count": {"unit": "requests", "avg": 0}}
    inputs, outputs = (sum(int(row[name] or 0) for row in rows) for name in ("input", "output"))
    seconds = (max(int(row["end"] or 0) for row in rows) - min(int(row["arrival"] or 0) for row in rows)) / 1e9
    totals: dict[str, tuple[str, float]] = {
        "request_count": ("requests", len(rows)),
        "total_isl": ("tokens", inputs),
        "total_osl": ("tokens", outputs),
        "benchmark_duration": ("sec", seconds),
    }
    if seconds:
        totals["request_throughput"] = ("requests/sec", len(rows) / seconds)
        totals["output_token_throughput"] = ("tokens/sec", outputs / seconds)
        totals["total_token_throughput"] = ("tokens/sec", (inputs + outputs) / seconds)
    return {tag: {"unit": unit, "avg": value} for tag, (unit, value) in totals.items()}


def _goodput(result: Result, whole: dict[str, Any]) -> dict[str, Any]:
    """Requests within the SLO, as many as result.json has; nothing without one."""
    rate, seconds = result["request_goodput"], whole.get("benchmark_duration", {}).get("avg")
    if rate is None or not seconds:
        return {}
    good = round(rate * result["duration"])
    return {
        "good_request_count": {"unit": "requests", "avg": good},
        "goodput": {"unit": "requests/sec", "avg": good / seconds},
    }


def _energy(result: Result) -> dict[str, Any]:
    """Of all accelerators over the run; nothing where it is not known, or whose they are."""
    own, outputs, done = result["metronome"], result["total_output_tokens"], result["completed"]
    makes = {_make(name) for name in own.get("accelerators", ())}
    parts = [part for node in own.get("energy_by_part_j", {}).values() for part in node.items()]
    joules = sum(energy for part, energy in parts if part.startswith("accelerators"))
    if makes not in ({"nvidia"}, {"amd"}) or not (joules and outputs and done):
        return {}
    make = makes.pop()
    totals = {
        "total_gpu_energy": ("J", joules),
        "average_gpu_power": ("W", joules / own["simulated_s"]),
        "energy_per_output_token": ("J/token", joules / outputs),
        "energy_per_request": ("J/request", joules / done),
        "output_tokens_per_joule": ("tokens/J", outputs / joules),
    }
    return {f"{make}_{tag}": {"unit": unit, "avg": value} for tag, (unit, value) in totals.items()}


def _make(device: str) -> str:
    """Whose a catalog device is; "" for makes whose energy AIPerf does not read, and devices of one's own."""
    name = device.lower().removeprefix("nvidia-")
    if re.match(r"mi\d", name):
        return "amd"
    nvidia = ("a10", "a30", "a40", "b200", "b300", "gb", "gh", "h100", "h20", "l4", "rtx", "t4", "v100")
    return "nvidia" if name.startswith(nvidia) else ""


def _statistics(values: Any, unit: str) -> dict[str, Any]:
    """All that AIPerf gives of a metric; ``std`` is the population's."""
    points = np.percentile(values, PERCENTILES).tolist()
    return {
        "unit": unit,
        "avg": float(values.mean()),
        **{f"p{percent}": point for percent, point in zip(PERCENTILES, points, strict=True)},
        "min": float(values.min()),
        "max": float(values.max()),
        "std": float(values.std()),
        "count": len(values),
        "sum": float(values.sum()),
    }


def _metrics(row: RequestRow) -> dict[str, float]:
    """Of one request."""
    ttft, e2el, inputs, outputs = (float(row[name] or 0) for name in ("ttft", "e2el", "input", "output"))
    found = {
        "time_to_first_token": ttft / 1e6,
        "request_latency": e2el / 1e6,
        "input_sequence_length": inputs,
        "output_sequence_length": outputs,
    }
    if outputs > 1 and e2el > ttft:
        found["inter_token_latency"] = (e2el - ttft) / 1e6 / (outputs - 1)
        found["output_token_throughput_per_user"] = 1e3 / found["inter_token_latency"]
    if ttft:
        found["prefill_throughput_per_user"] = inputs / (ttft / 1e9)
    return found


def records(rows: list[RequestRow]) -> Iterator[dict[str, Any]]:
    """One a request; a run does not keep which session it was of, so each is its own. The worker is the instance."""
    for number, row in enumerate(rows):
        name = str(row["id"])
        metadata = {
            "session_num": number,
            "x_request_id": name,
            "x_correlation_id": name,
            "conversation_id": name,
            "turn_index": 0,
            "request_start_ns": row["arrival"],
            "request_ack_ns": None,
            "request_end_ns": row["end"],
            "worker_id": row["instance"],
            "benchmark_phase": "profiling",
            "was_cancelled": False,
        }
        metrics = {tag: {"value": value, "unit": UNITS[tag]} for tag, value in _metrics(row).items()}
        yield {"metadata": metadata, "metrics": metrics, "error": None}

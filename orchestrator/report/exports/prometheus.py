"""Prometheus text as vLLM V1 serves it at ``/metrics``, for the whole of a run, an ``engine`` label an instance.

Names, labels and buckets are those of vllm/v1/metrics/loggers.py. Of the gaps between single tokens a run keeps no
histogram, so ``vllm:inter_token_latency_seconds`` is left out; ``vllm:request_time_per_output_token_seconds`` is there.
Gauges, which a run keeps for all instances together, are those of its last second, under the engine ``all``; so is what
prefix caches found where K and V lie off the devices, too: a row has the device's and the tiers' in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..result import Cell, Result

RequestRow = dict[str, Cell]
TTFT = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
TPOT = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
LATENCY = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)


def _between(start: str, end: str) -> Callable[[RequestRow], float]:
    return lambda row: (int(row[end] or 0) - int(row[start] or 0)) / 1e9


def _tokens(column: str) -> Callable[[RequestRow], float]:
    return lambda row: int(row[column] or 0)


#: name, what it is, its buckets (None: 1, 2, 5, 10, ...), its value of a request
HISTOGRAMS: tuple[tuple[str, str, tuple[float, ...] | None, Callable[[RequestRow], float]], ...] = (
    ("time_to_first_token_seconds", "Time from arrival to the first token.", TTFT, _between("arrival", "first_token")),
    ("e2e_request_latency_seconds", "Time from arrival to the last token.", LATENCY, _between("arrival", "end")),
    ("request_queue_time_seconds", "Time in the waiting queue.", LATENCY, _between("queued", "scheduled")),
    (
        "request_prefill_time_seconds",
        "Time from first scheduled to first token.",
        LATENCY,
        _between("scheduled", "first_token"),
    ),
    ("request_decode_time_seconds", "Time from first to last token.", LATENCY, _between("first_token", "end")),
    (
        "request_inference_time_seconds",
        "Time from first scheduled to last token.",
        LATENCY,
        _between("scheduled", "end"),
    ),
    ("request_prompt_tokens", "Prompt tokens of a request.", None, _tokens("input")),
    ("request_generation_tokens", "Generated tokens of a request.", None, _tokens("output")),
)
COUNTERS: tuple[tuple[str, str, Callable[[RequestRow], float]], ...] = (
    ("prompt_tokens_total", "Prompt tokens of finished requests.", _tokens("input")),
    ("generation_tokens_total", "Generated tokens of finished requests.", _tokens("output")),
    ("num_preemptions_total", "Preemptions of finished requests.", _tokens("preemptions")),
)
QUERIES, HITS = "prefix_cache_queries_total", "prefix_cache_hits_total"
GAUGES = (
    ("num_requests_running", "Requests in the batches.", "running"),
    ("num_requests_waiting", "Requests in the waiting queues.", "waiting"),
    ("kv_cache_usage_perc", "Share of KV blocks used; 1 is all.", "kv_used"),
)


def text(result: Result) -> str:
    """The exposition, in the text format 0.0.4."""
    rows, model = list(result.requests), str(result["model_id"])
    engines = {
        name: [row for row in rows if row["instance"] == name] for name in sorted({str(r["instance"]) for r in rows})
    }
    lines: list[str] = []
    most = max((int(row[name] or 0) for row in rows for name in ("input", "output")), default=1)
    for name, about, buckets, value in HISTOGRAMS:
        samples = {engine: [value(row) for row in ours] for engine, ours in engines.items()}
        lines += _histogram(name, about, model, samples, buckets or _one_two_five(most))
    tpot = {engine: [_tpot(row) for row in ours if int(row["output"] or 0) > 1] for engine, ours in engines.items()}
    about = "Mean time between the tokens of a request."
    lines += _histogram("request_time_per_output_token_seconds", about, model, tpot, TPOT)
    for name, about, value in COUNTERS:
        lines += _head(name, about, "counter")
        lines += [_line(name, sum(map(value, ours)), model, engine) for engine, ours in engines.items()]
    lines += _hits(result, engines, model)
    lines += _head("request_success_total", "Finished requests.", "counter")
    for engine, ours in engines.items():
        lines.append(_line("request_success_total", len(ours), model, engine, finished_reason="length"))
    for name, about, column in GAUGES if len(result.series) else ():
        lines += [*_head(name, about, "gauge"), _line(name, float(result.series[column][-1] or 0), model, "all")]
    return "\n".join(lines) + "\n"


def _hits(result: Result, engines: dict[str, list[RequestRow]], model: str) -> list[str]:
    """Prompt tokens found in prefix caches; with tiers also those looked for, and the same of tiers (``external``).

    What is found again after a preemption, vLLM leaves out, and result.json does not tell apart; nor does a row of
    instances for prefill and decode. Of such runs those of tiers are left out.
    """
    own, about = result["metronome"], "Prompt tokens found in the prefix cache."
    hits = {name: sum(map(_tokens("prefix_hit"), ours)) for name, ours in engines.items()}
    if not own.get("kv_tiers"):
        figures = [(HITS, about, hits)]
    else:
        asked = sum(_tokens("input")(row) for ours in engines.values() for row in ours)
        here = own["prefix_hit_tokens"]
        figures = [(QUERIES, "Prompt tokens looked for.", {"all": asked}), (HITS, about, {"all": here})]
        if not own["preemptions"] and not own["kv_transfers"]:
            found = {"all": sum(hits.values()) - here}
            figures.append((f"external_{QUERIES}", "Prompt tokens looked for in tiers.", {"all": asked - here}))
            figures.append((f"external_{HITS}", "Prompt tokens found in tiers.", found))
    lines = []
    for name, text, values in figures:
        lines += [*_head(name, text, "counter"), *(_line(name, n, model, engine) for engine, n in values.items())]
    return lines


def _tpot(row: RequestRow) -> float:
    return (int(row["end"] or 0) - int(row["first_token"] or 0)) / 1e9 / (int(row["output"] or 0) - 1)


def _one_two_five(most: int) -> tuple[float, ...]:
    """1, 2, 5, 10, ... up to the first that holds ``most``; vLLM goes up to the model's length."""
    found: list[float] = []
    power = 1
    while not found or found[-1] < most:
        found += [power, 2 * power, 5 * power]
        power *= 10
    return tuple(found)


def _histogram(
    name: str, about: str, model: str, samples: dict[str, list[float]], buckets: Iterable[float]
) -> list[str]:
    lines = _head(name, about, "histogram")
    for engine, values in samples.items():
        ordered = np.sort(np.array(values, dtype=float))
        for bound in buckets:
            count = int(np.searchsorted(ordered, bound, side="right"))
            lines.append(_line(f"{name}_bucket", count, model, engine, le=repr(float(bound))))
        lines.append(_line(f"{name}_bucket", len(values), model, engine, le="+Inf"))
        lines.append(_line(f"{name}_count", len(values), model, engine))
        lines.append(_line(f"{name}_sum", float(ordered.sum()), model, engine))
    return lines


def _head(name: str, about: str, kind: str) -> list[str]:
    return [f"# HELP vllm:{name} {about}", f"# TYPE vllm:{name} {kind}"]


def _line(name: str, value: float, model: str, engine: str, **labels: Any) -> str:
    given = {"engine": engine, "model_name": model, **labels}
    inside = ",".join(f'{key}="{_escaped(str(label))}"' for key, label in given.items())
    return f"vllm:{name}{{{inside}}} {float(value)!r}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

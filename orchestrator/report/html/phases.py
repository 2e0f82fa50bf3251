"""Where the time of requests went, by phase: over all of them, and for the slowest one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..result import Cell
from .charts import number
from .run import PHASES, Floats, Run

SLOWEST = 10
TAIL = 0.1  # the share of requests, by latency, that is looked at apart


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: its share of the bar, and its figures as text."""

    name: str
    share: float
    mean: str
    p99: str
    percent: str


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A stacked bar of mean times; ``scale`` is its length against the longest bar."""

    label: str
    total: str
    scale: float
    parts: list[Phase]


@dataclass(frozen=True, slots=True)
class Segment:
    """A phase in a waterfall: start and width in percent of the longest latency shown."""

    phase: int
    start: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One slow request."""

    id: str
    instance: str
    tokens: str
    arrival: str
    ttft: str
    latency: str
    segments: list[Segment]
    why: str


UNTIL = {"ttft": ("to the first token", len(PHASES) - 1), "e2el": ("to the last token", len(PHASES))}


def breakdowns(runs: list[Run]) -> list[Breakdown]:
    """Of every run, to the first and to the last token: all requests, and the slowest tenth."""
    return [breakdown for name in UNTIL for breakdown in _until(runs, name)]


def _until(runs: list[Run], name: str) -> list[Breakdown]:
    words, count = UNTIL[name]
    found: list[tuple[str, list[Floats]]] = []
    for run in runs:
        phases, total = run.phases[:count], run.column(name)
        if not len(total):
            continue
        prefix = f"{run.label}: " if len(runs) > 1 else ""
        slow = np.argsort(-total, kind="stable")[: max(1, round(len(total) * TAIL))]
        found.append((f"{prefix}{words}, all {len(total):,} requests", phases))
        found.append((f"{prefix}{words}, the slowest {TAIL:.0%}", [phase[slow] for phase in phases]))
    longest = max((sum(float(p.mean()) for p in phases) for _, phases in found), default=0) or 1
    return [_breakdown(label, phases, longest) for label, phases in found]


def _breakdown(label: str, phases: list[Floats], longest: float) -> Breakdown:
    means = [float(phase.mean()) for phase in phases]
    total = sum(means)
    parts = [
        Phase(
            PHASES[i][0],
            mean / total * 100 if total else 0,
            number(mean),
            number(float(np.percentile(phase, 99))),
            f"{mean / total:.1%}" if total else "-",
        )
        for i, (mean, phase) in enumerate(zip(means, phases, strict=True))
    ]
    return Breakdown(label, number(total), total / longest * 100, parts)


def slowest(run: Run, name: str) -> list[Waterfall]:
    """The requests with the longest ``ttft`` or ``e2el``, longest first, phase by phase up to that token."""
    latency, count = run.column(name) / 1e6, UNTIL[name][1]
    if not len(latency):
        return []
    order = np.argsort(-latency, kind="stable")[:SLOWEST].tolist()
    phases, requests = run.phases[:count], run.result.requests
    longest = float(latency[order[0]]) or 1
    rows = {place: dict(zip(requests.columns, requests.rows[place], strict=True)) for place in order}
    return [_waterfall(rows[place], [float(phase[place]) for phase in phases], longest) for place in order]


def _waterfall(row: dict[str, Cell], times: list[float], longest: float) -> Waterfall:
    starts = np.concatenate(([0.0], np.cumsum(times)[:-1])).tolist()
    segments = [
        Segment(i, round(start / longest * 100, 3), round(time / longest * 100, 3), f"{PHASES[i][0]} {number(time)} ms")
        for i, (start, time) in enumerate(zip(starts, times, strict=True))
    ]
    arrival, ttft, latency = (float(row[name] or 0) for name in ("arrival", "ttft", "e2el"))
    tokens = f"{int(row['input'] or 0):,} > {int(row['output'] or 0):,}"
    figures = (number(arrival / 1e9), number(ttft / 1e6), number(latency / 1e6))
    return Waterfall(str(row["id"]), str(row["instance"]), tokens, *figures, segments, _why(row, times))


def _why(row: dict[str, Cell], times: list[float]) -> str:
    """In words: which phase, how much of it, and what is known to have made it longer or shorter."""
    total = sum(times) or 1
    worst = max(range(len(times)), key=times.__getitem__)
    output, preempted = int(row["output"] or 0), int(row["preemptions"] or 0)
    words = [f"{times[worst] / total:.0%} {PHASES[worst][0]}"]
    if PHASES[worst][0] == "decode" and output > 1:
        words.append(f"{output:,} tokens at {number(times[worst] / (output - 1))} ms each")
    if PHASES[worst][0] == "prefill":
        words.append(f"prompt of {int(row['input'] or 0):,} tokens")
    if preempted:
        words.append(f"preempted {preempted} time{'s' if preempted > 1 else ''}")
    if hit := int(row["prefix_hit"] or 0):
        words.append(f"{hit:,} prompt tokens from the prefix cache")
    return ", ".join(words)

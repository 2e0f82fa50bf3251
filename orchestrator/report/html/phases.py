"""Where the time of requests went, by phase: over all of them, and for the slowest one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .charts import number
from .run import PHASES, Floats, Run

SLOWEST = 15
TAIL = 0.1  # the share of requests, by latency, that is looked at apart


@dataclass(frozen=True, slots=True)
class Part:
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
    parts: list[Part]


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


def breakdowns(runs: list[Run]) -> list[Breakdown]:
    """Of every run: all requests, and the slowest tenth."""
    found: list[tuple[str, list[Floats]]] = []
    for run in runs:
        phases = run.phases()
        total = run.column("e2el")
        if not len(total):
            continue
        prefix = f"{run.label}: " if len(runs) > 1 else ""
        found.append((f"{prefix}all {len(total):,} requests", phases))
        slow = np.argsort(-total, kind="stable")[: max(1, round(len(total) * TAIL))]
        found.append((f"{prefix}the slowest {TAIL:.0%}", [phase[slow] for phase in phases]))
    longest = max((sum(float(p.mean()) for p in phases) for _, phases in found), default=0) or 1
    return [_breakdown(label, phases, longest) for label, phases in found]


def _breakdown(label: str, phases: list[Floats], longest: float) -> Breakdown:
    means = [float(phase.mean()) for phase in phases]
    total = sum(means)
    parts = [
        Part(
            name,
            mean / total * 100 if total else 0,
            number(mean),
            number(float(np.percentile(phase, 99))),
            f"{mean / total:.1%}" if total else "-",
        )
        for (name, *_), mean, phase in zip(PHASES, means, phases, strict=True)
    ]
    return Breakdown(label, number(total), total / longest * 100, parts)


def slowest(run: Run) -> list[Waterfall]:
    """The requests with the longest latency, longest first."""
    latency = run.column("e2el") / 1e6
    if not len(latency):
        return []
    order = np.argsort(-latency, kind="stable")[:SLOWEST]
    longest = float(latency[order[0]]) or 1
    phases, rows = run.phases(), list(run.result.requests)
    found = []
    for place in order.tolist():
        row, times = rows[place], [float(phase[place]) for phase in phases]
        starts = np.concatenate(([0.0], np.cumsum(times)[:-1]))
        segments = [
            Segment(
                i, round(start / longest * 100, 3), round(time / longest * 100, 3), f"{PHASES[i][0]} {number(time)} ms"
            )
            for i, (start, time) in enumerate(zip(starts.tolist(), times, strict=True))
        ]
        arrival, ttft = float(row["arrival"] or 0) / 1e9, float(row["ttft"] or 0) / 1e6
        tokens = f"{int(row['input'] or 0):,} > {int(row['output'] or 0):,}"
        found.append(
            Waterfall(
                str(row["id"]),
                str(row["instance"]),
                tokens,
                number(arrival),
                number(ttft),
                number(float(latency[place])),
                segments,
                _why(row, times),
            )
        )
    return found


def _why(row: dict[str, int | float | str | None], times: list[float]) -> str:
    """In words: which phase, how much of it, and what is known to have made it longer."""
    total = sum(times) or 1
    worst = max(range(len(times)), key=times.__getitem__)
    output, preempted = int(row["output"] or 0), int(row["preemptions"] or 0)
    words = [f"{times[worst] / total:.0%} {PHASES[worst][0]}"]
    if worst == len(times) - 1 and output > 1:
        words.append(f"{output:,} tokens at {number(times[-1] / (output - 1))} ms each")
    if preempted:
        words.append(f"preempted {preempted} time{'s' if preempted > 1 else ''}")
    if hit := int(row["prefix_hit"] or 0):
        words.append(f"{hit:,} prompt tokens from the prefix cache")
    return ", ".join(words)

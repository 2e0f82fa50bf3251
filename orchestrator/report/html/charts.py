"""The data behind each chart, and its table: what a reader sees who sees no chart."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .run import Floats, Run

CDF_POINTS = 240
TIME_POINTS = 600  # more bins than that are put together
TABLE_ROWS = 40
ARRIVAL_BINS = 60
WAYS = (("in", "stored"), ("out", "recalled"))  # of copies, as timeseries.csv says it
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99, 100)


@dataclass(frozen=True, slots=True)
class Series:
    """One line; ``run`` is its place among the runs, ``kind`` among the lines of one run. None is a gap."""

    label: str
    run: int
    kind: int
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over a common axis. ``about`` says in words what they show; ``marks`` are limits on the x axis."""

    id: str
    title: str
    about: str
    x_label: str
    y_label: str
    x: list[float]
    series: list[Series]
    head: list[str]
    rows: list[list[str]]
    log: bool = False
    percent: bool = False
    marks: list[tuple[float, str]] = field(default_factory=list)

    def data(self) -> dict[str, Any]:
        """What the page's script needs to draw it."""
        kept = asdict(self)
        return {key: kept[key] for key in ("id", "x_label", "y_label", "x", "series", "log", "percent", "marks")}


def number(value: float | None) -> str:
    """Three or four significant digits, with thousands separated; - for nothing."""
    if value is None or not np.isfinite(value):
        return "-"
    size = abs(value)
    digits = 0 if size >= 100 or value == 0 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


def distributions(runs: list[Run]) -> list[Chart]:
    """TTFT, TPOT and latency: the share of requests that took at most so long; and TTFT by arrival."""
    names = (
        ("ttft", "Time to first token (TTFT)"),
        ("tpot", "Time per output token (TPOT)"),
        ("e2el", "Latency, arrival to last token (E2EL)"),
    )
    charts = [*(_distribution(runs, name, title) for name, title in names), by_arrival(runs)]
    return [chart for chart in charts if chart]


def _distribution(runs: list[Run], name: str, title: str) -> Chart | None:
    samples = [np.sort(values[~np.isnan(values)]) / 1e6 for values in (run.column(name) for run in runs)]
    known = [values for values in samples if len(values)]
    if not known:
        return None
    low, high = min(values[0] for values in known), max(values[-1] for values in known)
    log = bool(low > 0 and high > 4 * low)
    grid = np.geomspace(low, high, CDF_POINTS) if log else np.linspace(low, max(high, low + 1e-6), CDF_POINTS)
    grid[0], grid[-1] = low, max(high, grid[-1])
    lines = [
        Series(
            run.label if len(runs) > 1 else "requests",
            place,
            0,
            rounded(np.searchsorted(values, grid, side="right") / len(values) * 100)
            if len(values)
            else [None] * len(grid),
        )
        for place, (run, values) in enumerate(zip(runs, samples, strict=True))
    ]
    rows = [
        [f"P{p}" if p < 100 else "slowest", *(number(np.percentile(v, p)) if len(v) else "-" for v in samples)]
        for p in PERCENTS
    ]
    about = "; ".join(_spread(run.label, values, len(runs)) for run, values in zip(runs, samples, strict=True))
    return Chart(
        f"cdf-{name}",
        title,
        about,
        "ms",
        "% of requests",
        rounded(grid),
        lines,
        ["requests", *_columns(runs, "ms")],
        rows,
        log,
        True,
        _limits(runs, name),
    )


def _spread(label: str, values: Floats, runs: int) -> str:
    who = f"{label}: " if runs > 1 else ""
    if not len(values):
        return f"{who}no request"
    half, most, slowest = map(number, np.percentile(values, [50, 99, 100]))
    return f"{who}half of the requests within {half} ms, 99 % within {most} ms, the slowest {slowest} ms"


def _limits(runs: list[Run], name: str) -> list[tuple[float, str]]:
    found = {((run.scenario or {}).get("slo") or {}).get(f"{name}_ms") for run in runs}
    limits = sorted(float(limit) for limit in found if limit is not None)
    return [(limit, f"SLO {number(limit)} ms") for limit in limits]


def _columns(runs: list[Run], unit: str) -> list[str]:
    return [unit] if len(runs) == 1 else [f"{run.label}, {unit}" for run in runs]


def over_time(runs: list[Run]) -> list[Chart]:
    """Throughput, requests, KV blocks, tiers of K and V and power over simulated time."""
    tiers = _tiers(runs)
    copies = {f"tier_{tier}_{way}_gb": f"{tier}, {said}" for tier in tiers for way, said in WAYS}
    wanted = (
        (
            "throughput",
            "Throughput",
            "tokens/s",
            {"prompt_throughput": "prompt", "generation_throughput": "generation"},
            1,
        ),
        ("requests", "Requests in the engines", "requests", {"running": "running", "waiting": "waiting"}, 1),
        ("kv", "KV blocks", "%", {"kv_used": "used", "kv_cached": "free, can be found"}, 100),
        ("tiers", "KV tiers: how full", "%", {f"tier_{tier}_used": tier for tier in tiers}, 100),
        ("tier-copies", "KV tiers: copies to and from them", "GB/s", copies, 1),
        ("power", "Power of the cluster", "W", {"power_w": "power"}, 1),
        ("instances", "Instances that serve", "instances", {"instances": "serving"}, 1),
    )
    charts = [_over_time(runs, *each) for each in wanted]
    return [chart for chart in charts if chart]


def _tiers(runs: list[Run]) -> list[str]:
    """Those of all runs, nearest first: timeseries.csv has a column of each for how full it is."""
    columns = dict.fromkeys(name for run in runs for name in run.result.series.columns)
    return [
        name[len("tier_") : -len("_used")] for name in columns if name.startswith("tier_") and name.endswith("_used")
    ]


def _over_time(
    runs: list[Run], name: str, title: str, unit: str, columns: dict[str, str], scale: float
) -> Chart | None:
    width = math.gcd(*(run.bin_s for run in runs)) or 1
    bins = max((len(run.result.series) * run.bin_s // width for run in runs), default=0)
    each = max(1, -(-bins // TIME_POINTS))
    points = -(-bins // each)
    lines = []
    for place, run in enumerate(runs):
        for kind, (column, label) in enumerate(columns.items()):
            values = np.repeat(run.series(column) * scale, run.bin_s // width)
            if np.isnan(values).all():
                continue
            padded = np.full(points * each, np.nan)
            padded[: len(values)] = values
            lines.append(
                Series(
                    line_label(run, label, runs, columns), place, kind, rounded(_means(padded.reshape(points, each)))
                )
            )
    if not lines:
        return None
    x = [float(min((i + 1) * each, bins) * width) for i in range(points)]
    about = "; ".join(f"{line.label}: {extent(line.values, unit)}" for line in lines) + (
        "" if each * width == 1 else f"; means of {each * width} s"
    )
    return Chart(
        name,
        title,
        about,
        "simulated s",
        unit,
        x,
        lines,
        ["s", *(f"{line.label}, {unit}" for line in lines)],
        rows(x, lines),
        percent=unit == "%",
    )


def by_arrival(runs: list[Run]) -> Chart | None:
    """Median and P99 of TTFT of the requests that arrive in each of some equal spans: shows a queue that builds up."""
    arrivals = [run.column("arrival") / 1e9 for run in runs]
    last = max((float(a.max()) for a in arrivals if len(a)), default=0)
    most = max((len(a) for a in arrivals), default=0)
    if not last:
        return None
    spans = max(1, min(ARRIVAL_BINS, most // 5))
    edges = np.linspace(0, last, spans + 1)
    lines = []
    for place, (run, arrival) in enumerate(zip(runs, arrivals, strict=True)):
        ttft, which = run.column("ttft") / 1e6, np.clip(np.searchsorted(edges, arrival, side="left") - 1, 0, spans - 1)
        groups = [ttft[which == i] for i in range(spans)]
        for kind, (label, percent) in enumerate((("median", 50), ("P99", 99))):
            values = np.array([np.percentile(group, percent) if len(group) else np.nan for group in groups])
            lines.append(Series(line_label(run, label, runs, (50, 99)), place, kind, rounded(values)))
    x = rounded(edges[1:])
    about = "; ".join(f"{line.label}: {extent(line.values, 'ms')}" for line in lines)
    return Chart(
        "arrival",
        "TTFT by time of arrival",
        f"{about}; a point is the requests of {number(last / spans)} s",
        "arrival, simulated s",
        "ms",
        [v or 0.0 for v in x],
        lines,
        ["until, s", *(f"{line.label}, ms" for line in lines)],
        rows([v or 0.0 for v in x], lines),
    )


def line_label(run: Run, label: str, runs: list[Run], lines: Any) -> str:
    if len(runs) == 1:
        return label
    return run.label if len(lines) == 1 else f"{run.label}, {label}"


def _means(rows: Floats) -> Floats:
    known = ~np.isnan(rows)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, rows, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def extent(values: list[float | None], unit: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "nothing"
    return f"mean {number(sum(known) / len(known))}, {number(min(known))} to {number(max(known))} {unit}"


def rows(x: list[float], lines: list[Series]) -> list[list[str]]:
    """At most TABLE_ROWS of the points, evenly."""
    step = max(1, -(-len(x) // TABLE_ROWS))
    return [[number(x[i]), *(number(line.values[i]) for line in lines)] for i in range(0, len(x), step)]


def rounded(values: Floats) -> list[Any]:
    """Five significant digits are more than a chart shows; None for NaN."""
    return [None if np.isnan(v) else float(f"{v:.5g}") for v in values.tolist()]

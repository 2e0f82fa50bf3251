"""Key figures, with error bars and with differences between runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from .charts import number
from .run import Run

STATISTICS = ("mean", "median", "p90", "p99")
LATENCIES = (("ttft_ms", "TTFT"), ("tpot_ms", "TPOT"), ("itl_ms", "ITL"), ("e2el_ms", "E2EL"))
#: key in result.json (under ``metronome`` if so prefixed), name, unit, whether more is better (None: neither)
TOTALS: tuple[tuple[str, str, str, bool | None], ...] = (
    ("request_goodput", "Goodput: requests within the SLO", "requests/s", True),
    ("request_throughput", "Requests", "requests/s", True),
    ("output_throughput", "Output tokens", "tokens/s", True),
    ("total_token_throughput", "All tokens", "tokens/s", True),
    ("duration", "Duration, to the last token", "s", False),
    ("completed", "Requests completed", "", None),
    ("failed", "Requests not done", "", False),
    ("metronome.energy_j", "Energy", "J", False),
    ("metronome.joules_per_output_token", "Energy per output token", "J", False),
    ("metronome.preemptions", "Preemptions", "", False),
    ("metronome.kv_transfers.bytes", "K and V moved to decode instances", "bytes", None),
    ("metronome.prefix_hit_tokens", "Tokens found in the prefix cache", "", None),
)
#: what is counted, and has no decimals
COUNTS = frozenset(("completed", "failed", "metronome.preemptions", "metronome.prefix_hit_tokens"))
SAME = 0.0005  # a relative difference that rounds to 0.0 %
MOST_PARTS = 4  # of the cluster whose energy is named
NOTABLE = 0.01  # a relative difference that is called better or worse


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure as text; ``change`` from the first run in words, ``verdict`` better, worse or nothing."""

    text: str
    bar: str = ""
    change: str = ""
    verdict: str = ""
    low: float = 0
    high: float = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of every run."""

    name: str
    unit: str
    cells: list[Cell]


def value(run: Run, key: str) -> float | None:
    """A number of result.json; None where it is not known."""
    found: Any = run.result.metrics
    for part in key.split("."):
        found = (found or {}).get(part)
    return float(found) if isinstance(found, int | float) else None


def whole(count: float | None) -> str:
    """A count, with thousands separated; - for nothing."""
    return "-" if count is None else f"{count:,.0f}"


def interval(run: Run, key: str) -> tuple[float, float] | None:
    """What the error bars say of a mean."""
    found = (run.own.get("error_bars") or {}).get(key)
    return (float(found[0]), float(found[1])) if found else None


def latency_rows(runs: list[Run]) -> list[Figure]:
    """Mean, median, P90 and P99 of each latency, ms; a row a statistic."""
    return [
        Figure(f"{label} {what.upper() if what.startswith('p') else what}", "ms", _cells(runs, f"{what}_{name}", False))
        for name, label in LATENCIES
        for what in STATISTICS
    ]


def total_rows(runs: list[Run]) -> list[Figure]:
    """Throughput, goodput, energy and what happened; without what no run knows."""
    rows = [Figure(name, unit, _cells(runs, key, better)) for key, name, unit, better in TOTALS]
    return [row for row in rows if any(cell.text != "-" for cell in row.cells)]


def _cells(runs: list[Run], key: str, more_is_better: bool | None) -> list[Cell]:
    first, cells = value(runs[0], key), []
    for place, run in enumerate(runs):
        here, bounds = value(run, key), interval(run, key)
        bar = f"{number(bounds[0])} to {number(bounds[1])}" if bounds else ""
        change, verdict = _change(first, here, more_is_better) if place else ("", "")
        cells.append(
            Cell(whole(here) if key in COUNTS else number(here), bar, change, verdict, *(bounds or (0.0, 0.0)))
        )
    return cells


def _change(first: float | None, here: float | None, more_is_better: bool | None) -> tuple[str, str]:
    if first is None or here is None:
        return "", ""
    if not first:
        return ("same", "") if not here else (f"{here - first:+,.4g}", _verdict(here > first, more_is_better))
    relative = (here - first) / first
    if abs(relative) < SAME:
        return "same", ""
    return f"{relative:+.1%}", _verdict(relative > 0, more_is_better) if abs(relative) >= NOTABLE else ""


def _verdict(more: bool, more_is_better: bool | None) -> str:
    if more_is_better is None:
        return ""
    return "better" if more is more_is_better else "worse"


@dataclass(frozen=True, slots=True)
class Card:
    """A figure to see first."""

    name: str
    text: str
    unit: str
    notes: list[str]
    low: float = 0  # the error bar, as shares of its upper end
    mean: float = 0
    high: float = 0


def cards(run: Run) -> list[Card]:
    """Of one run: latencies with their error bars, then throughput, goodput and energy."""
    found = []
    for name, label in LATENCIES:
        mean, bounds = value(run, f"mean_{name}"), interval(run, f"mean_{name}")
        median, p90, p99 = (number(value(run, f"{what}_{name}")) for what in ("median", "p90", "p99"))
        notes = [f"median {median}, P90 {p90}, P99 {p99} ms"]
        if bounds and mean:
            notes.append(f"mean {number(bounds[0])} to {number(bounds[1])} ms by its error bars")
        high = bounds[1] if bounds else 0
        found.append(
            Card(
                f"Mean {label}",
                number(mean),
                "ms",
                notes,
                *((bounds[0] / high, (mean or 0) / high, 1.0) if bounds and high else ()),
            )
        )
    goodput, rate = value(run, "request_goodput"), value(run, "request_throughput")
    if goodput is not None:
        share = f"{goodput / rate:.1%} of {number(rate)} requests/s" if rate else ""
        found.append(Card("Goodput", number(goodput), "requests/s", [f"{share} within the SLO"]))
    else:
        found.append(Card("Requests", number(rate), "requests/s", ["the scenario states no SLO: no goodput"]))
    found.append(
        Card(
            "Output",
            number(value(run, "output_throughput")),
            "tokens/s",
            [f"{number(value(run, 'total_token_throughput'))} tokens/s with prompts"],
        )
    )
    per_token = value(run, "metronome.joules_per_output_token")
    if per_token is None:
        found.append(Card("Energy", "-", "", ["the watts of an accelerator are not known"]))
    else:
        found.append(
            Card(
                "Energy",
                number(per_token),
                "J per output token",
                [f"{number((value(run, 'metronome.energy_j') or 0) / 1000)} kJ in all", *_energy_parts(run)],
            )
        )
    done = Card(
        "Completed",
        whole(value(run, "completed")),
        "requests",
        [f"in {number(value(run, 'duration'))} s simulated; {whole(value(run, 'failed'))} not done"],
    )
    return [*found, done]


def _energy_parts(run: Run) -> list[str]:
    """Where most of it went, all nodes together; nothing of a run that does not say."""
    parts: Counter[str] = Counter()
    for node in run.own.get("energy_by_part_j", {}).values():
        parts.update(node)
    total = parts.total()
    if not total:
        return []
    return [", ".join(f"{part} {joules / total:.0%}" for part, joules in parts.most_common(MOST_PARTS))]


def scenario_differences(runs: list[Run]) -> list[tuple[str, list[str]]]:
    """Fields of the scenarios that are not the same in every run, by path; no values of container environments."""
    flat = [dict(_leaves(run.scenario or {})) for run in runs]
    paths = sorted({path for each in flat for path in each})
    rows = [(path, [str(each.get(path, "-")) for each in flat]) for path in paths]
    differing = [(path, values) for path, values in rows if len(set(values)) > 1]
    return [(path, ["(not shown)"] * len(runs) if ".environment." in path else values) for path, values in differing]


def _leaves(part: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(part, dict) and part:
        return [leaf for key, inner in part.items() for leaf in _leaves(inner, f"{path}.{key}" if path else str(key))]
    if isinstance(part, list) and part and any(isinstance(inner, dict | list) for inner in part):
        return [leaf for i, inner in enumerate(part) for leaf in _leaves(inner, f"{path}.{i}")]
    return [(path, part)]

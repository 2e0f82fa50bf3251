"""The highest load at which a promise is kept, by trisection: two runs at a time, whatever the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..scenario.schema import Scenario
from .points import PointRow
from .slo import Promise

MOST_RUNS = 20
ALONE = 0.1  # requests there on average, below which less load makes none of them faster
SAME = 0.01  # relative, of what is done
WIDTH = 0.02  # of the interval, relative, at which the search ends
STEP = 4  # from one pair to the next while there is no interval
HANDFUL = 5  # requests, fewer of which decide no percentile
SERVED = 0.8  # of the load: a run in which fewer are served is mostly ramp up and drain
BELOW = 0.7  # of what was kept: from there on up loads are tried that it stands for

Evaluate = Callable[[Sequence[float]], Sequence[PointRow]]


@dataclass(slots=True)
class Capacity:
    """What was found.

    Attributes:
        knob: the field that was turned, by path.
        kept: the highest load at which the promise was kept (0: at none tried), and its figures.
        broken: the lowest above it at which it was not; None where it was kept at every load tried.
        runs: every load tried, in order, and whether the promise was kept.
        too_short: whether more load made no difference any more, so that no overload can show.
        monotone: whether no load above a broken one kept it.
    """

    knob: str
    kept: float = 0.0
    figures: PointRow = field(default_factory=dict)
    broken: float | None = None
    runs: list[tuple[float, bool]] = field(default_factory=list)
    too_short: bool = False
    _seen: dict[float, PointRow] = field(default_factory=dict, repr=False)

    @property
    def monotone(self) -> bool:
        return self.again is None

    @property
    def again(self) -> float | None:
        """The highest load above a broken one at which it was kept again; None where there is none."""
        if self.broken is None:
            return None
        return max((load for load, kept in self.runs if kept and load > self.broken), default=None)

    def take(self, loads: Sequence[float], rows: Sequence[PointRow], promise: Promise) -> None:
        """More loads that were tried."""
        before = self.kept
        figures = {load: row["figures"] for load, row in zip(loads, rows, strict=True)}
        self.runs += [(load, promise.kept(row)) for load, row in zip(loads, rows, strict=True)]
        self.broken = min((load for load, kept in self.runs if not kept), default=None)
        able = [load for load, kept in self.runs if kept and (self.broken is None or load < self.broken)]
        self.kept = max(able, default=0.0)
        self._seen |= figures
        if self.kept != before:
            self.figures = self._seen.get(self.kept, {})

    @property
    def width(self) -> float | None:
        """Of the interval, relative to what was kept; None while there is none."""
        return (self.broken - self.kept) / self.kept if self.kept and self.broken else None

    def rests_on(self, promise: Promise) -> int | None:
        """How many requests lie beyond the percentile of the run that kept it, at least 1; None where none did, or no
        limit is of whole requests (a percentile of ITL is of all tokens)."""
        done = self.figures.get("completed")
        if not done or not set(promise.limits) - {"itl"}:
            return None
        return max(1, int(done * (100 - promise.percentile) / 100))

    def doubts(self, promise: Promise, more: str = "") -> list[str]:
        """Why the answer may be another of a longer run; ``more`` says how to have one."""
        found, beyond, done = [], self.rests_on(promise), self.figures.get("completed")
        if beyond is not None and beyond < HANDFUL:
            found.append(
                f"{done} requests: the {promise.percentile}th percentile is of {beyond} of them; give more{more}"
            )
        served = self.figures.get("request_throughput")
        if not self.knob.endswith("max_concurrency") and served and served < SERVED * self.kept:
            told = f"at a load of {self.kept:.3g}/s only {served:.3g}/s are served"
            found.append(f"{told}: the run is mostly ramp up and drain; give more requests{more}")
        return found

    def __str__(self) -> str:
        if self.broken is None:
            more = "; more makes no difference: the run is too short to show an overload" if self.too_short else ""
            return f"{self.knob}: kept at every load tried, up to {self.kept:g}{more}"
        if not self.kept:
            return f"{self.knob}: broken at every load tried, down to {self.broken:g}"
        luck = f"; up to {self.again:g} it is kept at some loads and broken at others" if self.again else ""
        return f"{self.knob}: kept at {self.kept:g}, broken at {self.broken:g} ({self.width:.1%} more){luck}"


def knob(scenario: Scenario) -> tuple[str, float, bool]:
    """(path, value now, whether whole) of what decides the load. Raises InputError where nothing does."""
    workload: Any = scenario.workload
    if workload.max_concurrency is not None:
        return "workload.max_concurrency", workload.max_concurrency, True
    if isinstance(workload.request_rate, int | float):
        return "workload.request_rate", float(workload.request_rate), False
    if workload.has_arrivals:
        return "workload.rate", getattr(workload, "rate", None) or 1.0, False
    raise InputError(
        "scenario", "workload", workload.format, "has no load to turn: give request_rate (a number) or max_concurrency"
    )


def longer(scenario: Scenario) -> str:
    """How a run of more requests is asked for, in brackets; empty where the workload is a file's."""
    fields = type(scenario.workload).model_fields
    return next((f" (--set workload.{name}=...)" for name in ("num_requests", "num_prompts") if name in fields), "")


def search(knob: str, start: float, whole: bool, promise: Promise, evaluate: Evaluate) -> Capacity:
    """``evaluate`` gives the rows of two loads; ``start`` is where the search begins."""
    found = Capacity(knob)
    loads = [start, _next(start, 2 * start, whole)]
    while loads and len(found.runs) < MOST_RUNS:
        loads = loads[: MOST_RUNS - len(found.runs)]
        rows = evaluate(loads)
        found.take(loads, rows, promise)
        if not found.kept and any(map(_alone, rows)):
            break  # it is broken by a request that has everything for itself
        if found.broken is None and _no_difference(rows):
            found.too_short = True
            break
        loads = _loads(found, whole)
    return found


def check(found: Capacity, whole: bool, promise: Promise, evaluate: Evaluate) -> None:
    """Try loads below what was kept with the runs that are left: of a short workload luck decides near its limit, and
    where a lower load breaks the promise the limit is there."""
    count = (MOST_RUNS - len(found.runs)) // 2 * 2
    if found.broken is None or not found.kept or not count:
        return
    top, tried = found.kept, {load for load, _ in found.runs}
    loads = [top * (BELOW + (1 - BELOW) * number / count) for number in range(count)]
    loads = [float(round(load)) if whole else float(f"{load:.5g}") for load in loads]
    loads = [load for load in dict.fromkeys(loads) if 0 < load < top and load not in tried]
    for pair in (loads[place : place + 2] for place in range(0, len(loads), 2)):
        found.take(pair, evaluate(pair), promise)


def _alone(row: PointRow) -> bool:
    """Whether a request hardly ever met another: by Little's law so many were there on average."""
    throughput, latency_ms = row["figures"].get("request_throughput"), row["figures"].get("mean_e2el_ms")
    return bool(throughput and latency_ms) and throughput * latency_ms / 1000 < ALONE


def _no_difference(rows: Sequence[PointRow]) -> bool:
    """Whether as much is done at each of several loads, although the higher asks for twice as much: all requests are
    there at once at either."""
    done = [row["figures"].get("request_throughput") for row in rows]
    return len(done) > 1 and all(done) and max(done) - min(done) <= SAME * min(done)


def _loads(found: Capacity, whole: bool) -> list[float]:
    """The next two to try; none when the interval is narrow enough."""
    low, high = found.kept, found.broken
    if high is None:
        return [_next(low, STEP / 2 * low, whole), _next(low, STEP * low, whole)]
    if not low:
        tried = [load for load in (high / STEP, high / (STEP / 2)) if not whole or load >= 1]
        return [float(int(load)) if whole else load for load in tried if load > 1e-6]
    if high - low <= (1 if whole else WIDTH * low):
        return []
    ratio = high / low
    between = [low * ratio ** (1 / 3), low * ratio ** (2 / 3)]
    if whole:
        between = [float(load) for load in dict.fromkeys(map(round, between)) if low < load < high]
        return between or [float(int(low) + 1)]
    return [float(f"{load:.5g}") for load in between]


def _next(low: float, load: float, whole: bool) -> float:
    return float(max(int(low) + 1, int(load))) if whole else float(f"{load:.5g}")

"""Do error bars hold? Real values against the interval that a result gives them, and how wide that is.

A component says how far off its figures are (``relative_error``), and a result makes an interval of each mean of it.
90 % of real values are to lie inside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import collectives, kernels, steps
from .rows import Row

#: label of a row -> key of its interval in `error_bars`
MEANS = {
    "mean TTFT (ms)": "mean_ttft_ms",
    "mean TPOT (ms)": "mean_tpot_ms",
    "mean latency (ms)": "mean_e2el_ms",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A real value, and the interval around the simulated one."""

    real: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        return self.low <= self.real <= self.high

    @property
    def width(self) -> float:
        """Of the interval, over its middle."""
        return 2 * (self.high - self.low) / (self.high + self.low)


def rows(data: Path, folder: Path, runs: Iterable[tuple[Path, Iterable[Row]]]) -> list[Row]:
    """Share inside and median width: kernels by family, collectives, decode steps, means of ``runs`` (output, rows)."""
    bars, found = kernels.bars(data), []
    for one in kernels.scored(data):
        name, chip = one.family.replace("_", " "), kernels.generation(one.device)
        which = "guessed" if one.left_out else "measured"
        off = {length: bars[chip][one.family][length][which] for length in ("short", "long")}
        label = f"kernels, {name}, {kernels.NAMES[one.device]}" + (" left out" if one.left_out else "")
        found.append((label, _points(one.errors, np.where(one.short, off["short"], off["long"]))))
    found += [(f"collectives, {name}", points) for name, points in collective_points(data)]
    found.append(("decode steps by roofline, H100", step_points(data, folder)))
    found.append(("means of runs by profile", [point for out, table in runs for point in run_points(out, table)]))
    return [row for label, points in found for row in _summary(label, points)]


def collective_points(data: Path) -> list[tuple[str, list[Point]]]:
    """Every collective, by the error that its network says of itself."""
    return [(name, _points(errors, np.full(len(errors), off))) for name, errors, off in collectives.compared(data)]


def _points(errors: Any, wide: Any) -> list[Point]:
    return [
        Point(1.0, (1 + error) * (1 - off), (1 + error) * (1 + off)) for error, off in zip(errors, wide, strict=True)
    ]


def step_points(data: Path, folder: Path) -> list[Point]:
    """Median time between tokens of each batch size, by the run's error bar."""
    return [
        Point(step.real, step.simulated * (1 - step.relative), step.simulated * (1 + step.relative))
        for step in steps.simulated(data, folder)
    ]


def run_points(out: Path, table: Iterable[Row]) -> list[Point]:
    """Means of a run with an interval."""
    bars = json.loads((out / "result.json").read_text())["metronome"]["error_bars"]
    return [
        Point(row.real, *bars[MEANS[row.metric]])
        for row in table
        if row.real is not None and bars and bars.get(MEANS.get(row.metric, ""))
    ]


def _summary(label: str, points: list[Point]) -> list[Row]:
    outside = sum(not point.inside for point in points) / len(points)
    width = float(np.median([point.width for point in points]))
    return [
        Row(label, f"outside their interval, of {len(points)}", None, None, outside, None),
        Row(label, "median width of the interval", None, None, width, None),
    ]

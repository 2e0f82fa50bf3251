"""The table of a sweep: a row a point, and which of them nothing beats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .points import PointRow
from .schema import Sweep


@dataclass(frozen=True, slots=True)
class Table:
    """Points in the order they were asked for.

    Attributes:
        rows: of each ``point`` (values by path), ``status``, ``error``, ``figures``, ``within`` (constraints hold) and
            ``front`` (no other point within the constraints is as good in every objective and better in one).
    """

    sweep: Sweep
    rows: list[PointRow]

    @property
    def front(self) -> list[PointRow]:
        """The Pareto front, best in the first objective first."""
        name, way = next(iter(self.sweep.objectives.items()))
        best = [row for row in self.rows if row["front"]]
        return sorted(best, key=lambda row: row["figures"][name] * (1 if way == "min" else -1))

    def columns(self) -> list[str]:
        """Figures shown: objectives, then constrained ones."""
        return list(dict.fromkeys([*self.sweep.objectives, *self.sweep.constraints]))

    def as_csv(self) -> str:
        """Axes, figures, ``within``, ``front``, ``status`` and ``error``."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.sweep.axes, *self.columns(), "within", "front", "status", "error"])
        for row in self.rows:
            point = [json.dumps(row["point"][path]) for path in self.sweep.axes]
            shown = [row["figures"].get(name) for name in self.columns()]
            writer.writerow([*point, *shown, int(row["within"]), int(row["front"]), row["status"], row["error"]])
        return text.getvalue()

    def as_json(self) -> str:
        """Everything, figures that no column shows among it."""
        return json.dumps({"sweep": self.sweep.model_dump(mode="json"), "points": self.rows}, indent=1) + "\n"


def objectives(sweep: Sweep, row: PointRow) -> list[float] | None:
    """What is wanted of a point, to be made small; None where it has not all, or breaks a constraint."""
    figures = row["figures"]
    values = [figures.get(name) for name in sweep.objectives]
    if row["status"] != "complete" or any(value is None for value in values) or not within(sweep, row):
        return None
    return [v if way == "min" else -v for v, way in zip(values, sweep.objectives.values(), strict=True)]


def within(sweep: Sweep, row: PointRow) -> bool:
    """Whether a point holds all constraints."""
    return all(bound.holds(row["figures"].get(name)) for name, bound in sweep.constraints.items())


def tabulate(sweep: Sweep, points: Sequence[dict[str, Any]], rows: Sequence[PointRow]) -> Table:
    """Rows of computed points, with what compares them."""
    wanted = [objectives(sweep, row) for row in rows]
    there = [values for values in wanted if values is not None]
    found = []
    for point, row, own in zip(points, rows, wanted, strict=True):
        front = own is not None and not any(_beats(other, own) for other in there)
        found.append({"point": point, **row, "within": within(sweep, row), "front": front})
    return Table(sweep, found)


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))

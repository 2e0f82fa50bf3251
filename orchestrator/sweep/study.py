"""A sweep from its file to its table: what is there is not computed again, whatever ended the last attempt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import InputError
from ..scenario.loading import bundled
from ..scenario.loading import load as load_scenario
from ..strict import did_you_mean
from .places import Cluster, for_points
from .points import Bayesian, Point, PointRow, listed
from .runs import Runs
from .schema import Span, Sweep
from .table import Table, objectives, tabulate

TRIED = 3  # values of an axis
Tell = Callable[[int, int], None]  # points done, of how many


class Study:
    """``folder``: where relative paths of the sweep start from; ``out``: where points are kept. ``workers``: processes
    of this machine, unless a ``cluster`` computes them."""

    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        out: Path,
        workers: int = 1,
        tell: Tell | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        self.sweep, self._workers, self._cluster = sweep, workers, cluster
        self._source = _source(sweep.scenario, folder)
        self._out, self._tell = out, tell or (lambda done, of: None)
        self._points: list[Point] = []
        self._rows: list[PointRow | None] = []
        self.computed = self.kept = 0
        self.warnings: list[str] = []
        self._check()

    def _check(self) -> None:
        """A field that no scenario has is found before the first run; a value that cannot be is a row of the table.
        Raises InputError."""
        load_scenario(self._source, self.sweep.set)
        for path, axis in self.sweep.axes.items():
            tried: list[InputError] = []
            values = axis.values() if isinstance(axis, Span) else axis
            for value in values[:TRIED]:
                try:
                    load_scenario(self._source, {**self.sweep.set, path: value})
                    break
                except InputError as error:
                    tried.append(error)
            else:
                raise tried[0]

    def run(self) -> Table:
        """Compute what is not there. Raises KeyboardInterrupt; what was computed until then is kept."""
        with for_points(self._workers, self._cluster) as places:
            runs = Runs(self._source, places, self.sweep.prices, self._out)
            try:
                if self.sweep.search.method == "bayesian":
                    self._search(runs, Bayesian(self.sweep))
                else:
                    points = listed(self.sweep)
                    self._compute(runs, points, len(points))
            finally:
                self.warnings = runs.warnings()
        return self.table()

    def _search(self, runs: Runs, bayesian: Bayesian) -> None:
        while points := bayesian.ask():
            rows = self._compute(runs, points, self.sweep.search.points)
            bayesian.tell([objectives(self.sweep, row) for row in rows])

    def table(self) -> Table:
        """Of the points that are done."""
        done = [(point, row) for point, row in zip(self._points, self._rows, strict=True) if row is not None]
        return tabulate(self.sweep, [point for point, _ in done], [row for _, row in done])

    def _compute(self, runs: Runs, points: Sequence[Point], of: int) -> list[PointRow]:
        first = len(self._points)
        self._points += points
        self._rows += [None] * len(points)

        def told(place: int, row: PointRow, kept: bool) -> None:
            self._check_names(row)
            self._rows[first + place] = row
            self.kept += kept
            self.computed += not kept
            self._tell(self.kept + self.computed, of)

        return runs.rows([{**self.sweep.set, **point} for point in points], told)

    def _check_names(self, row: PointRow) -> None:
        """Objectives and constraints are figures of a whole run. Raises InputError."""
        known = row["figures"]
        for name in (*self.sweep.objectives, *self.sweep.constraints) if row["status"] == "complete" else ():
            if name not in known:
                hint = did_you_mean(name, known)
                raise InputError(
                    "sweep", "objectives, constraints", name, f"is no figure of a run; {hint}see result.json"
                )


def _source(name: str, folder: Path) -> str:
    """A path from the sweep's folder, or a bundled name."""
    path = folder / name
    return str(path) if path.is_file() or name not in bundled() else name

"""Which points of a sweep are tried, in which order: a pure function of the file, whoever computes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from random import Random
from typing import Any

from ..errors import InputError
from .schema import Span, Sweep

Point = dict[str, Any]
PointRow = dict[str, Any]  # what is known of a point: `worker.new_row` has its keys
BATCH = 8  # points a Bayesian search proposes before it looks at results: fixed, so that workers change nothing


def listed(sweep: Sweep) -> list[Point]:
    """All points of a grid or a random search; `Bayesian` proposes its own."""
    if sweep.search.method == "grid":
        values = [axis.values() if isinstance(axis, Span) else axis for axis in sweep.axes.values()]
        return [dict(zip(sweep.axes, chosen, strict=True)) for chosen in product(*values)]
    stream = Random(f"sweep {sweep.search.seed}")
    return [{path: _draw(axis, stream) for path, axis in sweep.axes.items()} for _ in range(sweep.search.points)]


def _draw(axis: list[Any] | Span, stream: Random) -> Any:
    return axis.at(stream.random()) if isinstance(axis, Span) else stream.choice(axis)


class Bayesian:
    """Points proposed by Optuna's tree-structured Parzen estimator, a batch at a time.

    Raises InputError if Optuna is not installed.
    """

    def __init__(self, sweep: Sweep) -> None:
        try:
            import optuna
        except ImportError:
            raise InputError(
                "sweep", "search.method", "bayesian", "needs Optuna: pip install 'metronome-cosim[bayesian]'"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=sweep.search.seed)
        directions = ["minimize" if way == "min" else "maximize" for way in sweep.objectives.values()]
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._failed = optuna.trial.TrialState.FAIL
        self._sweep, self._trials = sweep, list[Any]()

    def ask(self) -> list[Point]:
        """The next points; none when there have been enough."""
        left = self._sweep.search.points - len(self._study.trials)
        self._trials = [self._study.ask() for _ in range(min(BATCH, left))]
        axes = self._sweep.axes.items()
        return [{path: self._suggest(trial, path, axis) for path, axis in axes} for trial in self._trials]

    def tell(self, values: Sequence[Sequence[float] | None]) -> None:
        """Objectives of the points asked last, in their order; None for one that has none or breaks a constraint."""
        for trial, value in zip(self._trials, values, strict=True):
            if value is None:
                self._study.tell(trial, state=self._failed)
            else:
                self._study.tell(trial, list(value))

    def _suggest(self, trial: Any, path: str, axis: list[Any] | Span) -> Any:
        if isinstance(axis, Span):
            return axis.at(trial.suggest_float(path, 0.0, 1.0))
        return axis[trial.suggest_categorical(path, range(len(axis)))]

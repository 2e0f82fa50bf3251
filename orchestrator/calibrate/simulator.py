"""A scenario as a function of factors: what the log would say if they were true."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from .. import api
from ..errors import InputError, NoEffectWarning
from ..scenario.calibration import Calibration
from ..scenario.schema import Scenario
from .design import Heard
from .observations import Floats, Observations, Times

Factors = Mapping[str, float]
STEP = 0.1  # of a factor, up and down, for slopes: wide enough to be above the jumps of a schedule that changes


class Simulator:
    """Runs are remembered by their factors; ``tell`` is called after each with how many there have been."""

    def __init__(
        self, scenario: Scenario, folder: Path, observations: Observations, tell: Callable[[int], None] = lambda _: None
    ) -> None:
        self._scenario, self._folder, self._observations, self._tell = scenario, folder, observations, tell
        self._known: dict[tuple[tuple[str, float], ...], Floats] = {}
        self.parts: set[str] = set()  # of the first run
        self.directions = 0  # of its design: how many parts it could tell apart
        self.shapes = ""

    @property
    def runs(self) -> int:
        return len(self._known)

    def __call__(self, factors: Factors) -> Floats:
        """Rows as in the observations, ms. Raises what a run raises, and InputError where one does not serve all."""
        given = {name: factor for name, factor in factors.items() if factor != 1}
        key = tuple(sorted(given.items()))
        if key not in self._known:
            self._known[key] = self._run(given)
            self._tell(self.runs)
        return self._known[key]

    def _run(self, factors: Factors) -> Floats:
        calibration = Calibration(factors=dict(factors)) if factors else None
        scenario = self._scenario.model_copy(update={"calibration": calibration})
        with warnings.catch_warnings():
            if self._known:  # said once is enough
                warnings.simplefilter("ignore", NoEffectWarning)
            heard = [] if self._known else [Heard(scenario)]
            result = api.run(scenario, folder=self._folder, instruments=heard)
        for one in heard:
            self.parts, self.shapes = one.parts, one.shapes(result.requests)
            self.directions = one.directions(result.requests)
        if len(result.failures):
            why = (
                "requests are refused or given up in the simulation: make the scenario serve what the log's server did"
            )
            raise InputError(scenario.name, "requests", len(result.failures), why)
        return self._observations.simulated(Times.of(result.requests))

    def slope(self, part: str, factors: Factors) -> Floats:
        """Change of every row with the factor of a part, ms for 1, by runs with more and with less of it."""
        at = factors.get(part, 1.0)
        above = self({**factors, part: at * (1 + STEP)})
        if np.array_equal(above, self(factors), equal_nan=True):
            return np.zeros_like(above)
        below = self({**factors, part: at * (1 - STEP)})
        slope: Floats = (above - below) / (2 * STEP * at)
        return slope

"""The cheapest cluster that holds a load under an SLO: of each kind of replica its capacity, then how many it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..scenario.schema import Scenario
from . import costs
from .capacity import Capacity, knob, search
from .clusters import Shape, cluster, templates
from .points import PointRow
from .runs import RefusedError, Runs
from .slo import Promise

MORE = 3  # replicas beyond capacity's quotient that are tried when a router's imbalance breaks the promise

Counts = dict[str, int]  # replicas by role


@dataclass(slots=True)
class Option:
    """One kind of replica, and what a cluster of them would be.

    Attributes:
        device, shape: of a replica.
        capacity: of one replica, or of one that computes prompts with one that decodes.
        counts: how many of each role hold the load, found by running them all; empty if none of those tried do.
        usd_per_hour: of all of them; None without a price.
        figures: of the run of all of them.
        why: why there is no cluster of these.
    """

    device: str
    shape: Shape
    capacity: Capacity | None = None
    counts: Counts = field(default_factory=dict)
    usd_per_hour: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def accelerators(self) -> int:
        return sum(self.counts.values()) * self.shape.size

    def usd_per_million_tokens(self, rate: float) -> float | None:
        """Output tokens, at a load of ``rate`` requests a second: idle time is paid for, too."""
        done = self.figures.get("completed")
        return costs.per_million(self.usd_per_hour, rate * self.figures["total_output_tokens"] / done if done else None)

    def rank(self) -> tuple[Any, ...]:
        """Those that hold the load first, then by cost, where it is known."""
        cost = math.inf if self.usd_per_hour is None else self.usd_per_hour
        return not self.counts, cost, self.accelerators, self.device, self.shape


class Planner:
    """Plans for a scenario's model, traffic, router and engine flags.

    Raises InputError for a scenario whose load is no request rate, or of which replicas cannot be made.
    """

    def __init__(
        self,
        scenario: Scenario,
        overrides: Mapping[str, Any],
        promise: Promise,
        runs: Runs,
        prices: Mapping[str, float],
    ) -> None:
        path, self._start, _ = knob(scenario)
        if path != "workload.request_rate":
            raise InputError("plan", "workload", scenario.workload.format, "needs a request_rate, a number")
        self._roles = list(templates(scenario))
        self._scenario, self._overrides, self._promise = scenario, overrides, promise
        self._runs, self._prices, self._path = runs, prices, path

    def plan(
        self, rate: float, kinds: Sequence[tuple[str, Shape]], tell: Callable[[Option], None] = lambda option: None
    ) -> list[Option]:
        """An option a kind (device, shape): what holds ``rate`` requests a second first, by cost."""
        options = []
        for device, shape in kinds:
            option = Option(device, shape)
            try:
                self._work_out(option, rate)
            except (InputError, RefusedError) as error:
                option.why = str(error)
            if option.counts:
                option.usd_per_hour = costs.usd_per_hour({device: option.accelerators}, self._prices)
            options.append(option)
            tell(option)
        return sorted(options, key=Option.rank)

    def _work_out(self, option: Option, rate: float) -> None:
        """Its capacity, and the fewest replicas of which a whole run keeps the promise."""
        one = dict.fromkeys(self._roles, 1)
        option.capacity = found = search(
            self._path,
            self._start,
            False,
            self._promise,
            lambda loads: self._run(option, [(load, one) for load in loads]),
        )
        if not found.kept:
            option.why = f"one replica keeps the promise at no load tried, down to {found.broken or 0:g}"
            return
        least = math.ceil(rate / found.kept)
        for number in range(least, least + MORE + 1):
            counts = dict.fromkeys(self._roles, number)
            (row,) = self._run(option, [(rate, counts)])
            if self._promise.kept(row):
                option.counts, option.figures = counts, row["figures"]
                break
        else:
            option.why = f"{least} to {number} replicas break the promise at {rate:g}, though one keeps {found.kept:g}"
        if option.counts and len(self._roles) > 1:
            for role in self._roles:
                self._trim(option, rate, role)

    def _trim(self, option: Option, rate: float, role: str) -> None:
        """Fewer of a role, as long as the promise is kept."""
        fewer = [{**option.counts, role: number} for number in range(option.counts[role] - 1, 0, -1)]
        for counts, row in zip(fewer, self._run(option, [(rate, counts) for counts in fewer]), strict=True):
            if not self._promise.kept(row):
                return
            option.counts, option.figures = counts, row["figures"]

    def _run(self, option: Option, changes: Sequence[tuple[float, Counts]]) -> list[PointRow]:
        """Rows of a rate and replicas each. Raises InputError or RefusedError where they cannot be."""
        made = [(rate, cluster(self._scenario, option.device, option.shape, counts)) for rate, counts in changes]
        return self._runs.ended([{**self._overrides, **one, self._path: rate} for rate, one in made])

"""When requests are sent: at a rate, all at once, on a ramp, at rates that change; drawn as `vllm bench serve` does."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, WrapValidator, model_validator

from ..errors import InputError
from ..strict import Strict
from ..units import MAX_PS, PS_PER_S

MOST = 10**18


def _or_inf(value: Any, _: Any) -> float | str:
    """Infinity is kept as the word, which JSON and YAML can carry."""
    if isinstance(value, str):
        value = float("inf") if value.strip().lower().lstrip(".") == "inf" else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError("must be a number above 0, or inf")
    if isinstance(value, int) and value > MOST:
        raise ValueError(f"must be at most {MOST}, or inf")
    return "inf" if value == float("inf") else float(value)


OrInf = Annotated[float | Literal["inf"], WrapValidator(_or_inf)]


class RateStep(Strict):
    """``rate`` requests a second for ``duration_s``; the last step's lasts on."""

    rate: float = Field(ge=0, description="requests a second")
    duration_s: float = Field(gt=0, description="how long")


class Pace(Strict):
    """How often requests are sent. Gaps are gamma-distributed, as those of `vllm bench serve`."""

    request_rate: OrInf | None = Field(default=None, description="requests per second; inf = all at once")
    burstiness: OrInf = Field(default=1.0, description="shape of the gamma-distributed gaps: 1 = Poisson, inf = even")
    ramp_up_strategy: Literal["linear", "exponential"] | None = Field(
        default=None, description="the rate goes from ramp_up_start_rps to ramp_up_end_rps, from first to last request"
    )
    ramp_up_start_rps: float | None = Field(default=None, gt=0, description="requests a second at first")
    ramp_up_end_rps: float | None = Field(default=None, gt=0, description="requests a second at last")
    rates: list[RateStep] = Field(default=[], description="rates that follow one another, in place of request_rate")

    @model_validator(mode="after")
    def _one_way(self) -> Pace:
        ramp = (self.ramp_up_strategy, self.ramp_up_start_rps, self.ramp_up_end_rps)
        if any(part is not None for part in ramp) and None in ramp:
            raise ValueError("a ramp needs ramp_up_strategy, ramp_up_start_rps and ramp_up_end_rps")
        ways = [self.request_rate not in (None, "inf"), self.ramp_up_strategy is not None, bool(self.rates)]
        if sum(ways) > 1:
            raise ValueError("request_rate, rates and a ramp exclude one another")
        if self.rates and not self.rates[-1].rate:
            raise ValueError("rates: the last rate must be above 0, it lasts on")
        return self

    @property
    def given(self) -> bool:
        """Whether it says when requests are sent at all."""
        return self.request_rate is not None or self.ramp_up_strategy is not None or bool(self.rates)


class Arrivals:
    """Times one after another, of ``total`` requests in all.

    With ``exact`` the last of them comes at total / rate, as `vllm bench serve` stretches a constant rate's gaps.
    """

    def __init__(self, pace: Pace, random: np.random.Generator, total: int, exact: bool = False) -> None:
        self._pace, self._random, self._total = pace, random, total
        self._sent, self._now, self._stretch = 0, 0.0, 1.0
        rate, shape = pace.request_rate, pace.burstiness
        if exact and isinstance(rate, float) and isinstance(shape, float):
            once = deepcopy(random)  # the same gaps as are drawn one by one later
            self._stretch = total / rate / math.fsum(once.gamma(shape, 1 / (rate * shape)) for _ in range(total))
        self._steps = RateSteps([(step.rate, step.duration_s) for step in pace.rates]) if pace.rates else None

    def next_ps(self) -> int:
        if self._steps:
            self._now = self._steps.after(self._gap(1.0))
        elif (rate := self._rate()) != "inf":
            self._now += self._gap(rate)
        self._sent += 1
        when_ps = self._now * self._stretch * PS_PER_S
        if not when_ps < MAX_PS:
            why = f"request {self._sent} would come after {MAX_PS} ps (106 days), where time ends"
            raise InputError("scenario", "workload.request_rate", None, why)
        return round(when_ps)

    def _gap(self, rate: float) -> float:
        shape = self._pace.burstiness
        if shape == "inf":
            return 1 / rate
        return float(self._random.gamma(shape, 1 / (rate * shape)))

    def _rate(self) -> float | Literal["inf"]:
        """vLLM's ramp goes by the number of the request, not by time."""
        pace = self._pace
        start, end = pace.ramp_up_start_rps, pace.ramp_up_end_rps
        if start is None or end is None:
            return "inf" if pace.request_rate is None else pace.request_rate
        progress = self._sent / max(self._total - 1, 1)
        if pace.ramp_up_strategy == "linear":
            return start + (end - start) * progress
        return float(start * (end / start) ** progress)


class RateSteps:
    """A clock that runs as fast as the rate says: a request comes each time it has run on by one gap of mean 1."""

    def __init__(self, steps: list[tuple[float, float]], lasts: bool = True) -> None:
        """``steps`` are (rate, seconds); with ``lasts`` the last has no end, else the time after it is infinite."""
        self._steps, self._lasts = steps, lasts
        self._index, self._into, self._start = 0, 0.0, 0.0

    @property
    def now_s(self) -> float:
        return self._start + self._into

    @property
    def index(self) -> int:
        """The step it is in."""
        return self._index

    def after(self, gap: float) -> float:
        """The time, s, when it has run on by ``gap``."""
        while self._index < len(self._steps):
            rate, duration = self._steps[self._index]
            last = self._lasts and self._index == len(self._steps) - 1
            if rate and (last or gap <= rate * (duration - self._into)):
                self._into += gap / rate
                return self.now_s
            gap -= rate * (duration - self._into)
            self._index, self._into, self._start = self._index + 1, 0.0, self._start + duration
        return float("inf")

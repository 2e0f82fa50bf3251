"""What a sweep file says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from ..errors import InputError
from ..scenario.loading import bundled, checked
from ..scenario.yaml import parse, parse_value
from ..strict import Strict

Direction = Literal["min", "max"]
NO_AXES = "is a scenario: give what to vary with --axis PATH=V,V,..., or a sweep file with scenario and axes"


class Span(Strict):
    """Numbers from ``low`` to ``high``."""

    low: float
    high: float
    count: int = Field(ge=2, le=10_000, description="values, both ends among them")
    spacing: Literal["linear", "log"] = "linear"
    whole: bool = Field(default=False, description="rounded to whole numbers")

    @model_validator(mode="after")
    def _possible(self) -> Span:
        if self.spacing == "log" and min(self.low, self.high) <= 0:
            raise ValueError("spacing log needs both ends above 0")
        return self

    def at(self, share: float) -> float | int:
        """The number at that share (0 to 1) of the way."""
        if self.spacing == "log":
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return round(value) if self.whole else float(f"{value:.6g}")

    def values(self) -> list[float | int]:
        """All of them, each once."""
        return list(dict.fromkeys(self.at(i / (self.count - 1)) for i in range(self.count)))


def _axis(value: Any) -> list[Any] | Span:
    if isinstance(value, dict | Span):
        return Span.model_validate(value)
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of values, or {low, high, count}")
    return value


Axis = Annotated[Any, PlainValidator(_axis)]  # a list of values, or a `Span`


class Search(Strict):
    """Which points are tried."""

    method: Literal["grid", "random", "bayesian"] = "grid"
    points: int = Field(default=50, ge=1, le=100_000, description="random, bayesian: how many")
    seed: int = Field(default=0, ge=0)


class Bound(Strict):
    """Limits of a figure."""

    min: float | None = None
    max: float | None = None

    def holds(self, value: float | None) -> bool:
        """Whether a figure is within; one that there is not is not."""
        if value is None:
            return False
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class Sweep(Strict):
    """A scenario, what is varied, and what is wanted."""

    scenario: str = Field(description="a bundled scenario's name, or a path from this file's folder")
    set: dict[str, Any] = Field(default={}, description="fields changed in every point, by path")
    axes: dict[str, Axis] = Field(min_length=1, description="values by path, as `--set` has them")
    search: Search = Search()
    objectives: dict[str, Direction] = Field(
        default={"output_throughput": "max", "p99_ttft_ms": "min"},
        min_length=1,
        description="figures of result.json, or usd_per_million_output_tokens",
    )
    constraints: dict[str, Bound] = Field(default={}, description="figures that must be within {min, max}")
    prices: dict[str, Annotated[float, Field(ge=0)]] = Field(default={}, description="USD per hour by accelerator")


def load(path: Path) -> Sweep:
    """The sweep of a file. Raises InputError."""
    if str(path) in bundled() and not path.exists():
        raise InputError(str(path), "sweep", None, NO_AXES)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), "sweep", None, f"cannot be read: {told}") from None
    data = parse(str(path), text)
    if not isinstance(data, dict):
        raise InputError(str(path), "sweep", data, "must be a mapping with scenario and axes")
    if "axes" not in data and {"workload", "cluster", "instances"} <= data.keys():
        raise InputError(str(path), "sweep", None, NO_AXES)
    return checked(Sweep, data, str(path), text)


def of_axes(scenario: str, axes: Sequence[str]) -> Sweep:
    """The sweep of texts ``path=value,value,...`` over a scenario. Raises InputError."""
    found = {}
    for text in axes:
        path, equals, values = text.partition("=")
        if not equals or not path or not values:
            raise InputError("--axis", text, None, "must be path.to.field=value,value,...")
        found[path] = parse_value("--axis", f"[{values}]")
    return checked(Sweep, {"scenario": scenario, "axes": found}, "--axis")

"""What a cluster costs, and what its tokens do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..scenario.schema import Scenario
from ..scenario.yaml import parse, read_mapping

HOUR_S = 3600


@cache
def built_in() -> dict[str, float]:
    """USD per hour by accelerator, estimates with their source in `prices.yaml`."""
    found: dict[str, float] = parse("prices.yaml", files(__package__).joinpath("prices.yaml").read_text())
    return found


def own(scenario: Scenario) -> dict[str, float]:
    """USD per hour of the scenario's own devices, of those that state it."""
    return {name: facts.usd_per_hour for name, facts in scenario.devices.items() if facts.usd_per_hour is not None}


def read(path: Path) -> dict[str, float]:
    """Prices of a file of the user's: accelerator to USD per hour. Raises InputError."""
    found = read_mapping(path)
    for name, price in found.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < float("inf"):
            raise InputError(str(path), str(name), price, "must be USD per hour, not negative")
    return found


def usd_per_hour(devices: Mapping[str, int], prices: Mapping[str, float]) -> float | None:
    """Of so many accelerators of each type; None if one of them has no price."""
    if not devices or any(name not in prices for name in devices):
        return None
    return sum(count * prices[name] for name, count in devices.items())


def per_million(usd_an_hour: float | None, tokens_per_s: float | None) -> float | None:
    """USD per million tokens at that rate."""
    if usd_an_hour is None or not tokens_per_s:
        return None
    return usd_an_hour / HOUR_S / tokens_per_s * 1e6


def priced(row: Mapping[str, Any], prices: Mapping[str, float]) -> dict[str, Any]:
    """A row with its figures of cost: they follow from the others, so that another price needs no other run.

    ``prices`` are the user's, before those of the scenario's own devices, before estimates.
    """
    if not row["figures"]:
        return dict(row)
    known = {**built_in(), **row.get("prices", {}), **prices}  # an earlier version kept rows without
    figures, hour = row["figures"], usd_per_hour(row["devices"], known)
    costs = {
        "accelerators": sum(row["devices"].values()),
        "usd_per_hour": hour,
        "usd_per_million_output_tokens": per_million(hour, figures.get("output_throughput")),
    }
    return {**row, "figures": {**figures, **costs}}

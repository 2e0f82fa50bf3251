"""What a cluster costs, and what its tokens do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from ..errors import InputError
from ..scenario.schema import Scenario
from ..scenario.yaml import parse, read_mapping

HOUR_S = 3600


def built_in() -> dict[str, float]:
    """USD per hour by accelerator, estimates with their source in `prices.yaml`."""
    found: dict[str, float] = parse("prices.yaml", files(__package__).joinpath("prices.yaml").read_text())
    return found


def read(path: Path) -> dict[str, float]:
    """Prices of a file of the user's: accelerator to USD per hour. Raises InputError."""
    found = read_mapping(path)
    for name, price in found.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < float("inf"):
            raise InputError(str(path), str(name), price, "must be USD per hour, not negative")
    return found


def digest(prices: Mapping[str, float]) -> str:
    """Of prices, for whatever is kept that depends on them."""
    return hashlib.sha256(json.dumps(prices, sort_keys=True).encode()).hexdigest()[:16]


def usd_per_hour(scenario: Scenario, prices: Mapping[str, float]) -> float | None:
    """Of the accelerators that serve instances; None if one of them has no price."""
    kinds = {node.name: node.accelerators.type for node in scenario.cluster.nodes}
    total = 0.0
    for instance in scenario.instances:
        for node, _ in [*instance.devices, *(instance.ffn.devices if instance.ffn else [])]:
            if kinds[node] not in prices:
                return None
            total += prices[kinds[node]]
    return total


def per_million(usd_an_hour: float | None, tokens_per_s: float | None) -> float | None:
    """USD per million tokens at that rate."""
    if usd_an_hour is None or not tokens_per_s:
        return None
    return usd_an_hour / HOUR_S / tokens_per_s * 1e6

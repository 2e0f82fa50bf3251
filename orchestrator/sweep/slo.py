"""Whether a run keeps what was promised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InputError

LATENCIES = ("ttft", "tpot", "itl", "e2el")
PERCENTILES = {50: "median", 90: "p90", 95: "p95", 99: "p99"}


@dataclass(frozen=True, slots=True)
class Promise:
    """``limits`` in ms by latency; ``percentile`` % of the requests keep each, and as many at least are served."""

    limits: dict[str, float]
    percentile: int = 99

    def kept(self, row: dict[str, Any]) -> bool:
        """By a run's figures."""
        figures = row["figures"]
        if row["status"] != "complete":
            return False
        done, failed = figures.get("completed") or 0, figures.get("failed") or 0
        if not done or failed > (100 - self.percentile) / 100 * (done + failed):
            return False
        found = [figures.get(name) for name in self.figures()]
        return all(v is None or v <= limit for v, limit in zip(found, self.limits.values(), strict=True))

    def figures(self) -> list[str]:
        """Keys of result.json that are looked at, in the order of the limits."""
        return [f"{PERCENTILES[self.percentile]}_{name}_ms" for name in self.limits]

    def __str__(self) -> str:
        return ", ".join(f"p{self.percentile} {name.upper()} <= {ms:g} ms" for name, ms in self.limits.items())


def promise(text: str, percentile: int = 99) -> Promise:
    """Of ``ttft=2000,tpot=50``. Raises InputError."""
    limits: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        name = name.lower().removesuffix("_ms")
        if name not in LATENCIES or not equals:
            raise InputError("--slo", "latency", part, f"must be NAME=MS; names: {', '.join(LATENCIES)}")
        try:
            limits[name] = float(value)
        except ValueError:
            limits[name] = -1.0
        if not 0 < limits[name] < float("inf"):
            raise InputError("--slo", name, value, "must be milliseconds, above 0")
    return Promise(limits, percentile)

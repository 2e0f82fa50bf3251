"""What a run's energy costs and emits, by rates that may change on the way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..scenario.power import Electricity, Rates

J_PER_KWH = 3.6e6


def bill(electricity: Electricity, joules: NDArray[np.float64], width_s: float = 1) -> dict[str, float]:
    """``usd`` and ``g_co2`` of so many J in each bin of that width; those whose rate is given."""
    rates = {"usd": electricity.usd_per_kwh, "g_co2": electricity.g_co2_per_kwh}
    return {name: total(rate, joules, width_s) for name, rate in rates.items() if rate is not None}


def total(rates: Rates, joules: NDArray[np.float64], width_s: float = 1) -> float:
    """Each bin at the rate that holds as it begins."""
    steps = rates if isinstance(rates, list) else [(0, rates)]
    begins, values = zip(*steps, strict=True)
    held = np.searchsorted(begins, np.arange(len(joules)) * width_s, side="right") - 1
    return float((joules * np.array(values)[held]).sum() / J_PER_KWH)

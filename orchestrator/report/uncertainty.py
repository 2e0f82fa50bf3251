"""How far off a run may be for what its figures are: error bars from their provenance.

Each second of a step comes from a lookup that was measured, interpolated and so on. A component may say
how far off its figures of each sort are (``relative_error`` in its statistics: of a profile, the error of
leaving each point out); else the defaults below hold. All errors are added as if they had one sign, so
the interval is wide. It covers the figures, not what the model leaves out; how a queue amplifies an error
of the service time is found by running again (`orchestrator/reruns.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metronome.hwmodels.interface import Provenance

#: guessed to one digit, for components that do not say
DEFAULT = {
    Provenance.MEASURED: 0.02,
    Provenance.INTERPOLATED: 0.05,
    Provenance.CLAMPED: 0.1,
    Provenance.CALIBRATED: 0.1,
    Provenance.EXTRAPOLATED: 0.3,
    Provenance.MODELLED: 0.3,
}


#: of `result.json`, which have an interval
MEANS = ("mean_ttft_ms", "mean_tpot_ms", "mean_e2el_ms")

#: component -> (ps by provenance, its statistics)
Parts = Mapping[str, tuple[Mapping[Provenance, int], Mapping[str, Any]]]


def relative_error(parts: Parts) -> float | None:
    """Of the time of all steps; None where no time was spent."""
    total = off = 0.0
    for spent, statistics in parts.values():
        said = statistics.get("relative_error", {})
        for provenance, ps in spent.items():
            total += ps
            off += ps * float(said.get(str(provenance), DEFAULT[provenance]))
    return off / total if total else None


def relative_errors(parts: Parts) -> dict[str, float]:
    """Of the time of each component that any was spent in."""
    found = {name: relative_error({name: part}) for name, part in parts.items()}
    return {name: error for name, error in found.items() if error is not None}


def error_bars(error: float | None, means: Mapping[str, float | None]) -> dict[str, Any] | None:
    """The interval of each mean."""
    if error is None:
        return None
    intervals = {
        name: None if mean is None else [mean * (1 - error), mean * (1 + error)] for name, mean in means.items()
    }
    return {"relative": error, **intervals}

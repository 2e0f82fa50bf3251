"""Metronome: a co-simulation orchestrator for LLM serving.

    import metronome

    result = metronome.run("quickstart", overrides={"workload.num_requests": 50})
    result["mean_ttft_ms"], result.requests["ttft"], result.series["kv_used"]

What is named here is loaded when first used, so that a component's process does not load the orchestrator.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .orchestrator.api import compare, counterfactual, load, run, why
    from .orchestrator.debug.counterfactual import Counterfactual
    from .orchestrator.debug.why import LatencySplit
    from .orchestrator.errors import ComponentFailure, InputError, MetronomeError
    from .orchestrator.instruments import Instrument
    from .orchestrator.report.result import Result, Table
    from .orchestrator.scenario.schema import Scenario

#: What must own this package. An unrelated project of that name is on PyPI; installed over ours it replaces this
#: file, and `metronome.orchestrator` says so.
DISTRIBUTION = "metronome-cosim"

_HOMES = {
    "compare": "orchestrator.api",
    "counterfactual": "orchestrator.api",
    "load": "orchestrator.api",
    "run": "orchestrator.api",
    "why": "orchestrator.api",
    "Counterfactual": "orchestrator.debug.counterfactual",
    "LatencySplit": "orchestrator.debug.why",
    "ComponentFailure": "orchestrator.errors",
    "InputError": "orchestrator.errors",
    "MetronomeError": "orchestrator.errors",
    "Instrument": "orchestrator.instruments",
    "Result": "orchestrator.report.result",
    "Table": "orchestrator.report.result",
    "Scenario": "orchestrator.scenario.schema",
}

__all__ = [
    "ComponentFailure",
    "Counterfactual",
    "InputError",
    "Instrument",
    "LatencySplit",
    "MetronomeError",
    "Result",
    "Scenario",
    "Table",
    "compare",
    "counterfactual",
    "load",
    "run",
    "why",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'metronome' has no attribute '{name}'")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)

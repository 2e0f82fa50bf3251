"""Finding engines by version: ours, and other packages' by entry points of the group ``metronome.engines``.

A version is a file of host costs that names its kind of engine (`host_costs/`), a release that such a file is of
(``vllm@0.19.0``), or the name of an entry point, whose kind then brings its host costs along. A kind is an
`EngineKind`.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib import import_module

from ..plugins import named
from . import host_costs
from .host_costs import HostCosts
from .spec import EngineKind

GROUP = "metronome.engines"
OURS = {
    "vllm": "metronome.orchestrator.serving.vllm",
    "vllm-release": "metronome.orchestrator.serving.vllm_real",
    "sglang": "metronome.orchestrator.serving.sglang",
}


@cache
def kinds() -> dict[str, EngineKind]:
    """Every kind of engine by name: ours, then other packages' that can be loaded."""
    found: dict[str, EngineKind] = {name: import_module(module).KIND for name, module in OURS.items()}
    for entry in named(GROUP).values():
        try:
            kind = entry.load()
        except (ImportError, AttributeError) as error:
            warnings.warn(f"engine {entry.name} ({entry.value}) cannot be loaded: {error}", stacklevel=2)
            continue
        if not isinstance(kind, EngineKind) or kind.costs is None:
            warnings.warn(f"engine {entry.name}: {entry.value} is no EngineKind with host costs", stacklevel=2)
            continue
        found[entry.name] = kind
    return found


def versions() -> list[str]:
    """Every version that can be named."""
    return sorted({*host_costs.names(), *host_costs.releases(), *(name for name in kinds() if name not in OURS)})


def kind_name(version: str) -> str:
    """The kind of engine that a version is of; the version itself where it is unknown."""
    if version in host_costs.releases():
        return "vllm-release"
    return host_costs.scheduler(version) if version in host_costs.names() else version


def kind_of(version: str) -> EngineKind:
    """KeyError if there is no engine of that version."""
    return kinds()[kind_name(version)]


def costs_of(version: str, cold: bool) -> HostCosts:
    """Host work of that version, warm unless it starts ``cold``; KeyError if there is none of that name."""
    version = host_costs.releases().get(version, version)
    if version in host_costs.names():
        return host_costs.host_costs(version, cold)
    costs = kind_of(version).costs
    if costs is None:
        raise KeyError(version)
    return costs if cold else costs.warm()

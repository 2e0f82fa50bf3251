"""Changes a user makes to a run in the middle of it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import yaml

from ..errors import InputError
from ..serving.router import make_router
from ..serving.vllm.config import SchedulerConfig
from ..simulation import Simulation
from ..workload.synthetic import stream

SETTABLE = "engines/NAME/config/FIELD and router/policy"
FIXED = ("block_size", "enable_prefix_caching")  # the cache was built for them


@dataclass(frozen=True, slots=True)
class Edit:
    """``value`` at ``path`` from just before ``event`` on."""

    event: int
    path: str
    value: str


def apply(simulation: Simulation, edit: Edit) -> None:
    """Raises InputError for what cannot be set, or to that value."""
    match [name for name in edit.path.split("/") if name]:
        case ["router", "policy"]:
            simulation.frontend.router = make_router(edit.value, stream(simulation.scenario.seed, "router"))
        case ["engines", name, "config", field]:
            engine = next((engine for engine in simulation.engines if engine.name == name), None)
            if engine is None:
                names = ", ".join(engine.name for engine in simulation.engines)
                raise InputError(
                    "debugger", edit.path, edit.value, f"there is no engine of that name; there is {names}"
                )
            engine.scheduler.config = _changed(engine.scheduler.config, edit, field)
        case _:
            raise InputError("debugger", edit.path, edit.value, f"cannot be set; {SETTABLE} can")


def _changed(config: SchedulerConfig, edit: Edit, field: str) -> SchedulerConfig:
    known = {f.name: f for f in fields(config)}
    if field not in known or field in FIXED:
        allowed = ", ".join(name for name in known if name not in FIXED)
        raise InputError("debugger", edit.path, edit.value, f"cannot be set; of a config {allowed} can")
    value: Any = yaml.safe_load(edit.value)
    before = getattr(config, field)
    if type(value) is not type(before) or (isinstance(value, int) and not isinstance(value, bool) and value < 0):
        kind = "true or false" if isinstance(before, bool) else "a whole number, not negative"
        raise InputError("debugger", edit.path, edit.value, f"must be {kind}")
    if field.startswith("max_") and value < 1:
        raise InputError("debugger", edit.path, edit.value, "must be at least 1")
    return replace(config, **{field: value})

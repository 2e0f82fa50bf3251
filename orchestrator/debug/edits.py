"""Changes a user makes to a run in the middle of it."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from ..errors import InputError
from ..serving.router import make_router
from ..simulation import Simulation
from ..workload.randomness import stream

SETTABLE = "engines/NAME/config/FIELD and router/policy"


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
            if edit.value == "internal-lb" and len(simulation.units) > 1:
                raise InputError("debugger", edit.path, edit.value, "chooses among the ranks of one instance")
            simulation.dispatcher.router = make_router(edit.value, stream(simulation.scenario.seed, "router"))
        case ["engines", name, "config", field]:
            replica = next((replica for replica in simulation.replicas if replica.name == name), None)
            if replica is None:
                names = ", ".join(replica.name for replica in simulation.replicas)
                raise InputError(
                    "debugger", edit.path, edit.value, f"there is no engine of that name; there is {names}"
                )
            try:
                replica.engine.configure(field, yaml.safe_load(edit.value))
            except InputError as error:
                raise InputError("debugger", edit.path, edit.value, error.allowed) from None
        case _:
            raise InputError("debugger", edit.path, edit.value, f"cannot be set; {SETTABLE} can")

"""Changes a user makes to a run in the middle of it, from an event on. What came before stays as it was.

Besides paths of the state (``engines/NAME/config/FIELD``, ``router/policy``, ``requests/ID`` = dropped) there are those
of the scenario, with dots: of engines and the router the same, of hardware and components (`refit.py`). Whatever else
a scenario says was decided before the first event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from ..errors import InputError
from ..record.journal import Row
from ..serving.router import make_router
from ..simulation import Simulation
from ..workload.randomness import stream
from .refit import HARDWARE, Components, refit

SETTABLE = "engines/NAME/config/FIELD, router/policy, requests/ID, and of the scenario cluster..., components..."
DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Edit:
    """``value`` at ``path`` from just before ``event`` on; ``number`` tells it from all others of a session."""

    event: int
    path: str
    value: str
    number: int = 0


def check_past(past: Sequence[Row], edit: Edit) -> None:
    """Raises InputError for what would change one of these events, which have happened."""
    match _names(edit.path):
        case ["requests", request]:
            for number, row in enumerate(past, 1):
                if row.kind == "arrival" and str(row.about) == request:
                    allowed = f"changes the past: it arrived at event {number}; seek {number}, then set it"
                    raise InputError("debugger", edit.path, edit.value, allowed)


def apply(simulation: Simulation, edit: Edit, components: Components) -> None:
    """Raises InputError for what cannot be set, or to that value; ComponentFailure where a component does not start."""
    match _names(edit.path):
        case ["router", "policy"]:
            if edit.value == "internal-lb" and len(simulation.units) > 1:
                raise InputError("debugger", edit.path, edit.value, "chooses among the ranks of one instance")
            place = simulation.availability.reports or simulation.dispatcher
            place.router = make_router(edit.value, stream(simulation.scenario.seed, "router"))
        case ["engines", name, "config", field]:
            _configure(simulation, edit, name, field)
        case ["instances", which, "engine", field] if "." in edit.path:
            for name in _members(simulation, edit, which):
                _configure(simulation, edit, name, field)
        case ["requests", request] if request.isdigit():
            if edit.value != DROPPED:
                raise InputError("debugger", edit.path, edit.value, DROPPED)
            simulation.dispatcher.leave_out(int(request))
        case [part, *_] if part in HARDWARE and "." in edit.path:
            refit(simulation, edit.number, edit.path, edit.value, components)
        case [part, *_] if part in type(simulation.scenario).model_fields and "." in edit.path:
            allowed = "changes the past: it was decided before event 1; `metronome debug --set` makes the whole run so"
            raise InputError("debugger", edit.path, edit.value, allowed)
        case _:
            raise InputError("debugger", edit.path, edit.value, f"cannot be set; {SETTABLE} can")


def _names(path: str) -> list[str]:
    """Of a path of the state, or of the scenario."""
    return [name for name in path.split("/" if "/" in path else ".") if name]


def _members(simulation: Simulation, edit: Edit, which: str) -> tuple[str, ...]:
    """Names of the engines of an instance, which is given by its number or its name."""
    for number, unit in enumerate(simulation.units):
        if which in (str(number), unit.name):
            return tuple(unit.names)
    names = ", ".join(unit.name for unit in simulation.units)
    raise InputError("debugger", edit.path, edit.value, f"there is no instance {which}; there is {names}")


def _configure(simulation: Simulation, edit: Edit, name: str, field: str) -> None:
    replica = next((replica for replica in simulation.replicas if replica.name == name), None)
    if replica is None:
        names = ", ".join(replica.name for replica in simulation.replicas)
        raise InputError("debugger", edit.path, edit.value, f"there is no engine of that name; there is {names}")
    try:
        replica.engine.configure(field, yaml.safe_load(edit.value))
    except InputError as error:
        raise InputError("debugger", edit.path, edit.value, error.allowed) from None

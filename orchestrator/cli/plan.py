"""The operations of a step, as `metronome validate --plan` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..coupling.streamed import Stream
from ..lowering.listing import sections, streamed
from ..simulation import Simulation

#: Attributes that say who takes part, not what is computed; `--json` has them.
LEFT_OUT = ("model", "owner", "ranks", "of")


def plans(simulation: Simulation) -> dict[str, list[dict[str, Any]]]:
    """By what steps together: an instance, or one data-parallel rank of it."""
    found = {unit.name: sections(unit.plan, simulation.ports.does_chain) for unit in simulation.units}
    for name, runner in simulation.streamed.items():
        found[name].append(streamed(runner.stream.work, _bytes(runner.stream)))
    return found


def _bytes(stream: Stream) -> str:
    """Of a step, to each device: a number, or what it depends on."""
    known = {stream.bytes(tokens) for tokens in (1, 2, 1024)}
    return str(known.pop()) if len(known) == 1 else "of the experts that the step picks and the device has not"


def lines(plan: list[dict[str, Any]]) -> Iterator[str]:
    """A table of each section; columns are as wide as the whole plan needs."""
    tables = [[_cells(operation) for operation in section["operations"]] for section in plan]
    widths = [max(len(row[i]) for table in tables for row in table) for i in range(4)]
    for section, table in zip(plan, tables, strict=True):
        stage = f", {section['stage']}" if section["stage"] else ""
        if sum(other["cycle"] == section["cycle"] for other in plan) > 1:
            stage += ", in turn"
        times = f" x {section['times']}" if section["times"] > 1 else ""
        times += f" of {section['layers']} layers" if section["layers"] > 1 else ""
        chained = "; its network operations as one, of kind train" if section["chained"] else ""
        yield f"  {section['section']}{times}{stage}{chained}"
        for row in table:
            yield "    " + "  ".join([*map(str.ljust, row, widths), row[4]])


def _cells(operation: Mapping[str, Any]) -> list[str]:
    who = " ".join(operation["components"]) + (" joint" if operation["joint"] else "")
    who += f" or {' '.join(operation['instead'])}" if "instead" in operation else ""
    shape = " ".join(f"{name}={value}" for name, value in operation["shape"].items() if name not in LEFT_OUT)
    numbers = operation["numbers"].items()
    told = ", ".join(formula if name == formula else f"{name} = {formula}" for name, formula in numbers)
    return [who, operation["kind"], operation["layer"], shape, told]

"""``metronome validate``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import click

from ..scenario.loading import load
from ..scenario.origin import naming_its_file
from ..serving.interface import Role
from ..serving.refusals import Refusal, refusal
from ..simulation import Simulation
from ..workload.request import Request
from .complete import scenarios
from .in_force import engines, lines
from .plan import lines as plan_lines
from .plan import plans
from .schema import json_schema

MOST = 50_000  # requests that are looked at; made-up traffic can have any number
SHOWN = 5


@click.command("validate")
@click.argument("scenario", required=False, shell_complete=scenarios)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")
@click.option("--schema", is_flag=True, help="Print the scenario's JSON Schema, for editors, and stop.")
@click.option("--strict", is_flag=True, help="A request that cannot be served is an error.")
@click.option("--plan", is_flag=True, help="Print the operations of a step of each instance.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, not text; with --plan only the plans.")
def command(
    scenario: str | None, overrides: tuple[str, ...], schema: bool, strict: bool, plan: bool, as_json: bool
) -> None:
    """Check SCENARIO: its schema, that models fit the memory, that components can do what is asked, and which
    requests cannot be served.

    Nothing is simulated. Components with `run: process` are started and asked.
    """
    if schema:
        click.echo(json.dumps(json_schema(), indent=1, allow_nan=False))
        return
    loaded, folder = load(scenario, overrides)
    with naming_its_file(loaded), Simulation(loaded, folder, strict=strict) as simulation:
        for text in simulation.warnings:
            click.echo(f"warning: {text}", err=True)
        if as_json and plan:
            click.echo(json.dumps(plans(simulation), indent=1))
            return
        workload = Served(simulation)
        if as_json:
            click.echo(json.dumps(_as_json(simulation, workload), indent=1, allow_nan=False))
        else:
            _show(simulation, workload)
        workload.check(strict)
        for name, listed in plans(simulation).items() if plan else ():
            click.echo(f"a step of {name}:")
            click.echo("\n".join(plan_lines(listed)))


class Served:
    """The workload, read: how many requests, and those that cannot be served."""

    def __init__(self, simulation: Simulation) -> None:
        self.looked, self.failed, dispatcher = 0, list[Refusal](), simulation.dispatcher
        for request in islice(simulation.workload, MOST):
            for turn in _turns(request):
                self.looked += 1
                if (refused := refusal(turn, dispatcher.prefillers(turn), dispatcher.decoders(turn))) is not None:
                    self.failed.append(refused)

    def check(self, strict: bool) -> None:
        """Raises InputError if none can be served, or with ``strict`` if one cannot."""
        if self.failed and (strict or len(self.failed) == self.looked):
            raise self.failed[0].error


def _replicas(simulation: Simulation) -> Iterator[dict[str, Any]]:
    """Of each replica: its model and how much K and V it can hold."""
    units = [unit for unit in simulation.units for _ in unit.names]
    for unit, replica in zip(units, simulation.replicas, strict=True):
        groups = len(unit.kv_groups) or 1
        yield {
            "name": replica.name,
            "role": str(replica.role),
            "model": unit.arch.name,
            "kv_blocks": unit.blocks,
            "kv_tokens": unit.blocks // groups * replica.engine.block_size,
            "kv_groups": groups,
        }


def _components(simulation: Simulation) -> Iterator[dict[str, Any]]:
    for spec in simulation.specs:
        own = spec.options.surrogate
        yield {
            "name": spec.name,
            "model": spec.model,
            "run": spec.options.run,
            "mode": str(simulation.ports.modes(spec.name)),
            "surrogate_tolerance": own.tolerance if own else None,
        }


def _as_json(simulation: Simulation, workload: Served) -> dict[str, Any]:
    return {
        "name": simulation.scenario.name,
        "warnings": simulation.warnings,
        "replicas": list(_replicas(simulation)),
        "engines": engines(simulation),
        "components": list(_components(simulation)),
        "workload": {
            "requests": workload.looked,
            "all_of_them": workload.looked < MOST,
            "notes": simulation.reading.notes,
            "cannot_be_served": [str(refused.error) for refused in workload.failed],
        },
    }


def _show(simulation: Simulation, workload: Served) -> None:
    click.echo(f"{simulation.scenario.name}: valid")
    for one in _replicas(simulation):
        role = "" if one["role"] == str(Role.BOTH) else f" ({one['role']})"
        split = f", in {one['kv_groups']} groups of layers" if one["kv_groups"] > 1 else ""
        kept = f"{one['kv_blocks']} KV blocks ({one['kv_tokens']} tokens{split})"
        click.echo(f"  {one['name']}{role}: {one['model']}, {kept}")
    for name, engine in engines(simulation).items():
        click.echo(f"  {name}: engine {engine['version']}")
        for line in lines(engine["flags"]):
            click.echo(f"    {line}")
    for one in _components(simulation):
        tolerance = one["surrogate_tolerance"]
        behind = "" if tolerance is None else f", behind a surrogate ({tolerance:.1%})"
        click.echo(f"  {one['name']}: {one['model']}, {one['run']}, {one['mode']}{behind}")
    more = "; the first of them" if workload.looked >= MOST else ""
    click.echo(f"  workload: {workload.looked} requests{more}, {len(workload.failed)} of them cannot be served")
    for note in simulation.reading.notes:
        click.echo(f"    {note}")
    for refused in workload.failed[:SHOWN]:
        click.echo(f"    {refused.error}")
    if len(workload.failed) > SHOWN:
        click.echo(f"    and {len(workload.failed) - SHOWN} more")


def _turns(request: Request | None) -> Iterator[Request]:
    while request is not None:
        yield request
        request = request.next_turn

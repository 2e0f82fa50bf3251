"""``metronome validate``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import click

from ..placement import UnitPlan
from ..scenario.loading import load
from ..scenario.origin import naming_its_file
from ..serving.interface import Role
from ..serving.refusals import Refusal, refusal
from ..simulation import Simulation
from ..workload.request import Request
from .complete import scenarios
from .plan import lines, plans
from .schema import json_schema

MOST = 50_000  # requests that are looked at; made-up traffic can have any number
SHOWN = 5


@click.command("validate")
@click.argument("scenario", required=False, shell_complete=scenarios)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")
@click.option("--schema", is_flag=True, help="Print the scenario's JSON Schema, for editors, and stop.")
@click.option("--strict", is_flag=True, help="A request that cannot be served is an error.")
@click.option("--plan", is_flag=True, help="Print the operations of a step of each instance.")
@click.option("--json", "as_json", is_flag=True, help="With --plan: only the plans, as JSON.")
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
    if as_json and not plan:
        raise click.UsageError("--json goes with --plan")
    loaded, folder = load(scenario, overrides)
    with naming_its_file(loaded), Simulation(loaded, folder, strict=strict) as simulation:
        for text in simulation.warnings:
            click.echo(f"warning: {text}", err=True)
        if as_json:
            click.echo(json.dumps(plans(simulation), indent=1))
            return
        click.echo(f"{loaded.name}: valid")
        units = [unit for unit in simulation.units for _ in unit.names]
        for unit, replica in zip(units, simulation.replicas, strict=True):
            model, blocks, size = unit.arch.name, unit.blocks, replica.engine.block_size
            role = "" if replica.role is Role.BOTH else f" ({replica.role})"
            groups = len(unit.kv_groups) or 1
            split = f", in {groups} groups of layers" if groups > 1 else ""
            click.echo(f"  {replica.name}{role}: {model}, {blocks} KV blocks ({blocks // groups * size} tokens{split})")
        for unit in simulation.units:
            _flags(unit)
        for spec in simulation.specs:
            own = spec.options.surrogate
            behind = f", behind a surrogate ({own.tolerance:.1%})" if own else ""
            click.echo(f"  {spec.name}: {spec.model}, {spec.options.run}, {simulation.ports.modes(spec.name)}{behind}")
        _check_workload(simulation, strict)
        for name, listed in plans(simulation).items() if plan else ():
            click.echo(f"a step of {name}:")
            click.echo("\n".join(lines(listed)))


def _check_workload(simulation: Simulation, strict: bool) -> None:
    """Read the workload and say which requests cannot be served. Raises InputError if none can, or with ``strict``."""
    looked, failed, dispatcher = 0, list[Refusal](), simulation.dispatcher
    for request in islice(simulation.workload, MOST):
        for turn in _turns(request):
            looked += 1
            if (refused := refusal(turn, dispatcher.prefillers(turn), dispatcher.decoders(turn))) is not None:
                failed.append(refused)
    more = "; the first of them" if looked >= MOST else ""
    click.echo(f"  workload: {looked} requests{more}, {len(failed)} of them cannot be served")
    for note in simulation.reading.notes:
        click.echo(f"    {note}")
    for refused in failed[:SHOWN]:
        click.echo(f"    {refused.error}")
    if len(failed) > SHOWN:
        click.echo(f"    and {len(failed) - SHOWN} more")
    if failed and (strict or len(failed) == looked):
        raise failed[0].error


def _turns(request: Request | None) -> Iterator[Request]:
    while request is not None:
        yield request
        request = request.next_turn


def _flags(unit: UnitPlan) -> None:
    """Every flag of the unit's engine that is in force, and where it comes from."""
    flags, given = unit.options.engine, unit.given.model_fields_set
    groups: dict[str, list[str]] = {"given": [], "by version and device": [], "default": []}
    for name, value in flags.model_dump(exclude={"version"}).items():
        if name in given:
            groups["given"].append(f"{name} {value}")
        elif value != getattr(unit.given, name):
            groups["by version and device"].append(f"{name} {value}")
        else:
            groups["default"].append(f"{name} {value}")
    click.echo(f"  {unit.name}: engine {flags.version}")
    for source, names in groups.items():
        if names:
            click.echo(f"    {source}: {', '.join(names)}")

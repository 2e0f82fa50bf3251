"""``metronome validate``."""

from __future__ import annotations

import json

import click

from ..scenario.loading import load
from ..scenario.schema import Scenario
from ..serving.interface import Role
from ..simulation import Simulation
from .plan import lines, plans


@click.command("validate")
@click.argument("scenario", required=False)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")
@click.option("--schema", is_flag=True, help="Print the scenario's JSON Schema, for editors, and stop.")
@click.option("--plan", is_flag=True, help="Print the operations of a step of each instance.")
@click.option("--json", "as_json", is_flag=True, help="With --plan: only the plans, as JSON.")
def command(scenario: str | None, overrides: tuple[str, ...], schema: bool, plan: bool, as_json: bool) -> None:
    """Check SCENARIO: its schema, that models fit the memory, that components can do what is asked.

    Nothing is simulated. Components with `run: process` are started and asked.
    """
    if schema:
        click.echo(json.dumps(Scenario.model_json_schema(), indent=1))
        return
    if as_json and not plan:
        raise click.UsageError("--json goes with --plan")
    loaded, folder = load(scenario, overrides)
    with Simulation(loaded, folder) as simulation:
        if as_json:
            click.echo(json.dumps(plans(simulation), indent=1))
            return
        click.echo(f"{loaded.name}: valid")
        models = [unit.arch.name for unit in simulation.units for _ in unit.names]
        for model, replica in zip(models, simulation.replicas, strict=True):
            blocks, size = replica.engine.num_blocks, replica.engine.block_size
            role = "" if replica.role is Role.BOTH else f" ({replica.role})"
            click.echo(f"  {replica.name}{role}: {model}, {blocks} KV blocks ({blocks * size} tokens)")
        for spec in simulation.specs:
            own = spec.options.surrogate
            behind = f", behind a surrogate ({own.tolerance:.1%})" if own else ""
            click.echo(f"  {spec.name}: {spec.model}, {spec.options.run}, {simulation.ports.modes(spec.name)}{behind}")
        for name, listed in plans(simulation).items() if plan else ():
            click.echo(f"a step of {name}:")
            click.echo("\n".join(lines(listed)))

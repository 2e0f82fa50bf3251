"""``metronome validate``."""

from __future__ import annotations

import json

import click

from ..scenario.loading import load
from ..scenario.schema import Scenario
from ..simulation import Simulation


@click.command("validate")
@click.argument("scenario", required=False)
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")
@click.option("--schema", is_flag=True, help="Print the scenario's JSON Schema, for editors, and stop.")
def command(scenario: str | None, overrides: tuple[str, ...], schema: bool) -> None:
    """Check SCENARIO: its schema, that models fit the memory, that components can do what is asked.

    Nothing is simulated. Components with `run: process` are started and asked.
    """
    if schema:
        click.echo(json.dumps(Scenario.model_json_schema(), indent=1))
        return
    loaded, folder = load(scenario, overrides)
    with Simulation(loaded, folder) as simulation:
        click.echo(f"{loaded.name}: valid")
        for instance, engine in zip(simulation.instances, simulation.engines, strict=True):
            tokens = engine.scheduler.pool.size * engine.scheduler.config.block_size
            click.echo(
                f"  {engine.name}: {instance.arch.name}, {engine.scheduler.pool.size} KV blocks ({tokens} tokens)"
            )
        for spec in simulation.specs:
            port = type(simulation.ports[spec.name]).__name__.removesuffix("Port").lower()
            click.echo(f"  {spec.name}: {spec.model}, {spec.options.run}, {port}")

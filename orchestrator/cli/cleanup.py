"""``metronome cleanup``."""

from __future__ import annotations

import click

from .answers import json_option, show_json


@click.command("cleanup")
@json_option
def command(as_json: bool) -> None:
    """Remove what a killed run has left behind: containers, networks and folders whose owner is gone.

    Only what this machine's runs have made and nobody uses any more; every run that starts components does
    the same first.
    """
    from ..coupling.launch.owner import sweep_folders
    from ..errors import ComponentFailure

    engine_answers = True
    removed = [str(folder) for folder in sweep_folders()]
    try:
        from ..coupling.launch.engine import engine, sweep

        removed += sweep(engine("cleanup"))
    except ComponentFailure:
        engine_answers = False
        click.echo("no container engine answers: containers were not looked for", err=True)
    if as_json:
        show_json({"removed": removed, "containers_looked_for": engine_answers})
        return
    for name in removed:
        click.echo(f"removed {name}")
    click.echo(f"{len(removed)} things removed")

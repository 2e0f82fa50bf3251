"""``metronome serve-island``: several components hosted together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .serve_component import command as serve_component

LEFT_OUT = ("name", "config", "settings")  # of serve-component: the file says them


@click.command("serve-island")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def command(context: click.Context, /, file: Path, **options: Any) -> None:
    """Host the components of FILE together, wired to one another, as one process.

    FILE (YAML) has members, a model each with its configuration, and wires, as a scenario has them. Whom nobody asks
    over a wire is asked from outside: name this process where a scenario has its accelerators (run: address).
    """
    context.invoke(serve_component, name="island", config=file, settings=(), **options)


command.params += [option for option in serve_component.params if option.name not in LEFT_OUT]

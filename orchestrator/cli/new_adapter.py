"""``metronome new-adapter``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import InputError
from .answers import json_option, written


@click.command("new-adapter")
@click.argument("name")
@click.option("--kind", type=click.Choice(["accelerator", "pim", "memory", "network"]), required=True)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder [default: NAME].")
@json_option
def command(name: str, kind: str, output: Path | None, as_json: bool) -> None:
    """Write a package for a component model called NAME that keeps the contract before its first edit.

    \b
      metronome new-adapter my-switch --kind network
      cd my-switch && pip install -e '.[dev]' && pytest
    """
    from metronome.adapters.kit import write_adapter

    folder = output or Path(name)
    try:
        made = write_adapter(name, kind, folder)
    except ValueError as error:
        raise InputError("new-adapter", "NAME", name, str(error)) from None
    except FileExistsError:
        raise InputError("new-adapter", "--output", str(folder), "is not empty; nothing is overwritten") from None
    written(made, f"cd {folder} && pip install -e '.[dev]' && pytest", as_json)

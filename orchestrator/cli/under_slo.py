"""What the commands share that ask many runs whether a promise is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..sweep.slo import PERCENTILES
from . import computing

Command = TypeVar("Command", bound=Callable[..., Any])


def promised(command: Command) -> Command:
    """Gives a command ``--slo`` and ``--percentile``."""
    limits = "Limits of ttft, tpot, itl or e2el, in ms."
    percentiles = click.Choice([str(percentile) for percentile in PERCENTILES])
    command = click.option("--percentile", type=percentiles, default="99", show_default=True)(command)
    return click.option("--slo", required=True, metavar="NAME=MS,...", help=limits)(command)


def many_runs(command: Command) -> Command:
    """Gives a command ``--set``, ``--output``, and where to compute."""
    folder = click.Path(file_okay=False, path_type=Path)
    command = computing.somewhere(command)
    command = click.option("-o", "--output", type=folder, help="Keep the runs' figures here.")(command)
    return click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")(command)

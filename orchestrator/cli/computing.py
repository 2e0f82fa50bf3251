"""What the commands share that compute many points: where."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ..sweep.places import Cluster

WORKERS = min(os.cpu_count() or 1, 8)
Command = TypeVar("Command", bound=Callable[..., Any])


def somewhere(command: Command) -> Command:
    """Gives a command ``--workers``, ``--cluster`` and ``--certs``."""
    folder = click.Path(file_okay=False, path_type=Path)
    certs = "Certificates for a cluster at tls://, as `metronome certs` makes them."
    command = click.option("--certs", type=folder, default=Path("certs"), show_default=True, help=certs)(command)
    address = "Compute on the workers of this Dask scheduler; the table is the same."
    command = click.option("--cluster", metavar="ADDRESS", help=address)(command)
    processes = "Processes on this machine; the table is the same."
    count = click.IntRange(1, 256)
    return click.option("--workers", type=count, default=WORKERS, show_default=True, help=processes)(command)


def cluster_at(address: str | None, certs: Path) -> Cluster | None:
    """None: on this machine. Raises click.UsageError for an option that would have no effect."""
    given = click.get_current_context().get_parameter_source
    idle = "workers" if address is not None else "certs"
    if given(idle) is not ParameterSource.DEFAULT:
        raise click.UsageError(f"--{idle} has no effect with{'' if address is not None else 'out'} --cluster")
    return None if address is None else Cluster(address, certs)

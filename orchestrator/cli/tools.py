"""``metronome tools``: the external simulators that adapters drive, each in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..errors import InputError
from .answers import json_option, show_json


@click.group("tools")
def command() -> None:
    """Install the simulators that adapters drive.

    \b
      metronome tools list
      metronome tools install scalesim
      metronome tools build systemc my_memory.cc -o my-memory

    They lie in $METRONOME_TOOLS, or in metronome/tools of your data folder; deleting it removes them.
    """


@command.command("list")
@json_option
def list_tools(as_json: bool) -> None:
    """Say which tools there are, and which are ready."""
    from metronome.adapters.tools import environment

    if as_json:
        show_json(
            {n: {"installed": environment.installed(n), "what": tool.what} for n, tool in environment.TOOLS.items()}
        )
        return
    for name in environment.TOOLS:
        state = "installed" if environment.installed(name) else "not installed"
        click.echo(f"{name}  {state}: {environment.TOOLS[name].what}")


@command.command("install")
@click.argument("name", required=False)
@click.option("--missing", is_flag=True, help="All that are not installed yet and have no version in their name.")
def install(name: str | None, missing: bool) -> None:
    """Make the environment of the tool NAME, or build it."""
    from metronome.adapters.tools import environment

    if missing == (name is not None):
        raise InputError("tools install", "NAME", name, "give one, or --missing")
    if name is not None and name not in environment.TOOLS:
        raise InputError("tools install", "NAME", name, f"one of {', '.join(environment.TOOLS)}")
    missed = [tool for tool in environment.TOOLS if tool not in environment.BY_NAME and not environment.installed(tool)]
    for tool in [name] if name else missed:
        _install(tool)


@command.command("build")
@click.argument("name")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", "program", required=True, type=click.Path(path_type=Path), help="The program.")
def build(name: str, sources: tuple[Path, ...], program: Path) -> None:
    """Build the tool NAME with SOURCES of yours in place of our example (systemc)."""
    from metronome.adapters.tools import environment

    if name not in environment.TOOLS:
        raise InputError("tools build", "NAME", name, f"one of {', '.join(environment.TOOLS)}")
    with _told("tools build", name):
        environment.build(name, sources, program)
    click.echo(f"{program} is built")


def _install(name: str) -> None:
    from metronome.adapters.tools import environment

    with _told("tools install", name):
        folder = environment.install(name)
    click.echo(f"{name} is in {folder}")


@contextmanager
def _told(where: str, name: str) -> Iterator[None]:
    """What cannot be made, as one message."""
    from metronome.adapters.tools import environment
    from metronome.hwmodels.interface import ConfigError

    try:
        yield
    except ConfigError as error:
        raise InputError(where, error.field, error.value, error.allowed) from None
    except subprocess.CalledProcessError as error:
        words = "\n".join(str(error.stdout or "").splitlines()[-15:])
        raise InputError(where, name, None, f"{error.cmd[0]} failed:\n{words}") from None
    except OSError as error:
        raise InputError(where, name, None, f"{error}; it needs {environment.TOOLS[name].needs}") from None

"""``metronome tools``: the external simulators that adapters drive, each in an environment of its own."""

from __future__ import annotations

import subprocess

import click

from ..errors import InputError
from .answers import json_option, show_json


@click.group("tools")
def command() -> None:
    """Install the simulators that adapters drive.

    \b
      metronome tools list
      metronome tools install scalesim

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


def _install(name: str) -> None:
    from metronome.adapters.tools import environment

    try:
        folder = environment.install(name)
    except subprocess.CalledProcessError as error:
        words = "\n".join(str(error.stdout or "").splitlines()[-15:])
        raise InputError("tools install", name, None, f"{error.cmd[0]} failed:\n{words}") from None
    except OSError as error:
        raise InputError("tools install", name, None, f"{error}; it needs {environment.TOOLS[name].needs}") from None
    click.echo(f"{name} is in {folder}")

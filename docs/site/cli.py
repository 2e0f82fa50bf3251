"""The page of the command line: every command with its help, as the program prints it."""

from __future__ import annotations

import click
from metronome.orchestrator.cli.main import COMMANDS
from metronome.orchestrator.cli.main import cli as program

WIDTH = 100


def page() -> str:
    """The page's Markdown."""
    parts = ["# Command line\n\nEvery command and its `--help`, as the program prints it.\n"]
    top = click.Context(program, info_name="metronome", max_content_width=WIDTH, terminal_width=WIDTH)
    parts.append(_block(program.get_help(top)))
    for name in COMMANDS:
        command = program.get_command(top, name)
        if command is None:
            raise KeyError(name)
        parts += _sections(command, f"metronome {name}", top)
    return "\n".join(parts)


def _sections(command: click.Command, path: str, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=WIDTH)
    found = [f"## {path}\n", _block(command.get_help(context))]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                found += _sections(inner, f"{path} {name}", context)
    return found


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"

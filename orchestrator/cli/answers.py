"""What a command answers, for people or for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def json_option(command: Command) -> Command:
    """Gives a command ``--json``, as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, and nothing else.")(command)


def show_json(answer: dict[str, Any]) -> None:
    click.echo(json.dumps(answer, indent=1))


def written(paths: Iterable[Path], then: str, as_json: bool) -> None:
    """Which files a command has written, and what one does with them next."""
    names = [str(path) for path in paths]
    if as_json:
        show_json({"written": names})
        return
    for line in (*names, *([f"next: {then}"] if then else [])):
        click.echo(line)


def say(text: str) -> None:
    """To standard error, if it can be written to."""
    with suppress(OSError):
        click.echo(text, err=True)

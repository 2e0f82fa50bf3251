"""``metronome diff``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .answers import json_option, show_json

if TYPE_CHECKING:
    from ..record.diff import Parting


@click.command("diff")
@click.argument("a", type=click.Path(exists=True, path_type=Path))
@click.argument("b", type=click.Path(exists=True, path_type=Path))
@json_option
def command(a: Path, b: Path, as_json: bool) -> None:
    """Find the first event in which recordings A and B differ, and what led to it.

    Of the same scenario with another model, say, or before and after a change of code. Exit code 0: no
    event differs; 1: one does.
    """
    from ..record.diff import parting
    from ..record.recording import Recording
    from ..record.replay import describe

    one, other = Recording(a), Recording(b)
    found = parting(one.journal, other.journal)
    if as_json:
        show_json({"events": [one.journal.events, other.journal.events], "parting": found and _facts(found)})
        sys.exit(0 if found is None else 1)
    if found is None:
        click.echo(f"no event differs ({one.journal.events} events)")
        return
    click.echo(f"event {found.number} is the first that differs")
    for name, row in (("A", found.a), ("B", found.b)):
        click.echo(f"  {name}: {describe(row) + f', caused by event {row.cause}' if row else 'has ended'}")
    for field, (before, after) in found.fields.items():
        click.echo(f"  {field}: {before} in A, {after} in B")
    for session, asked, before, after in found.answers:
        click.echo(f"  {session} answered otherwise {asked}\n    A: {before}\n    B: {after}")
    if found.causes:
        click.echo("what led to it, in both:")
    for number, row in found.causes:
        click.echo(f"  event {number}: {describe(row)}")
    sys.exit(1)


def _facts(found: Parting) -> dict[str, Any]:
    return {
        "event": found.number,
        "a": found.a and found.a._asdict(),
        "b": found.b and found.b._asdict(),
        "fields": {name: [str(value) for value in both] for name, both in found.fields.items()},
        "answers": [dict(zip(("session", "asked", "a", "b"), answer, strict=True)) for answer in found.answers],
        "causes": [{"event": number, **row._asdict()} for number, row in found.causes],
    }

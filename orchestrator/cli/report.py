"""``metronome report``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import InputError
from ..report.html import read, render


@click.command("report")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write [default: report.html in DIR; of several runs in the working directory].",
)
def command(folders: tuple[Path, ...], output: Path | None) -> None:
    """Write report.html of the run in DIR, or of several runs side by side.

    \b
      metronome report out/a
      metronome report out/a out/b -o a-b.html

    The page is one file, needs no network, and is made from what the run has left in DIR. Differences are from
    the first run named.
    """
    target = output or (folders[0] if len(folders) == 1 else Path()) / "report.html"
    text = render(read(list(folders)))
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(str(target), "output", None, f"cannot be written: {error}") from None
    click.echo(f"report in {target}")

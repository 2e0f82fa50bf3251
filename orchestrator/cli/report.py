"""``metronome report``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import InputError
from .answers import json_option, show_json


class _Shape(click.Choice[str]):
    """A format; of vLLM's, which is no other file than the run's own, it is said where it is."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "vllm":
            self.fail("vllm: DIR/result.json has that shape already, of `vllm bench serve --save-result`", param, ctx)
        return super().convert(value, param, ctx)


@click.command("report")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "shape",
    type=_Shape(["html", "aiperf", "prometheus", "parquet"]),
    default="html",
    show_default=True,
    help="The page; AIPerf's profile_export files; Prometheus text with vLLM's names; the tables as Parquet.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write (aiperf, parquet: folder) [default: in DIR; a page of several runs in the working directory].",
)
@json_option
def command(folders: tuple[Path, ...], shape: str, output: Path | None, as_json: bool) -> None:
    """Write report.html of the run in DIR, or of several runs side by side.

    \b
      metronome report out/a
      metronome report out/a out/b -o a-b.html
      metronome report --format aiperf out/a

    The page is one file, needs no network, and is made from what the run has left in DIR. Differences are from
    the first run named. The other formats take one DIR.
    """
    if shape != "html" and len(folders) > 1:
        raise InputError("report", "DIR", " ".join(map(str, folders)), f"must be one folder with --format {shape}")
    try:
        written = WAYS[shape](folders, output)
    except OSError as error:
        raise InputError(str(output or folders[0]), "output", None, f"cannot be written: {error}") from None
    if as_json:
        show_json({"written": [str(path) for path in written]})
        return
    for path in written:
        click.echo(f"report in {path}")


def _page(folders: tuple[Path, ...], output: Path | None) -> list[Path]:
    from ..report.html import read, render

    target = output or (folders[0] if len(folders) == 1 else Path()) / "report.html"
    target.write_text(render(read(list(folders))), encoding="utf-8")
    return [target]


def _aiperf(folders: tuple[Path, ...], output: Path | None) -> list[Path]:
    from ..report.exports.aiperf import write
    from ..report.html import read

    return write(read(list(folders))[0].result, output or folders[0])


def _prometheus(folders: tuple[Path, ...], output: Path | None) -> list[Path]:
    from ..report.exports.prometheus import text
    from ..report.html import read

    target = output or folders[0] / "metrics.prom"
    target.write_text(text(read(list(folders))[0].result), encoding="utf-8")
    return [target]


def _parquet(folders: tuple[Path, ...], output: Path | None) -> list[Path]:
    from ..report.exports.parquet import write
    from ..report.html import read

    return write(read(list(folders))[0].result, output or folders[0])


WAYS = {"html": _page, "aiperf": _aiperf, "prometheus": _prometheus, "parquet": _parquet}

"""``metronome sweep``."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import InputError
from ..scenario.loading import parse_overrides
from ..sweep.page import describe, number, render
from ..sweep.places import ClusterFailure
from ..sweep.schema import load, of_axes
from ..sweep.study import Study
from ..sweep.table import Table
from . import computing, grid
from .complete import scenarios
from .progress import counting_bar


@click.command("sweep")
@click.argument("file", shell_complete=scenarios)
@click.option("--axis", "axes", multiple=True, metavar="PATH=V,V,...", help="An axis; FILE is then a scenario.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field in every point.")
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder [default: out/FILE].")
@computing.somewhere
@click.option("--json", "as_json", is_flag=True, help="Print the whole table as JSON.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    file: str,
    axes: tuple[str, ...],
    overrides: tuple[str, ...],
    output: Path | None,
    workers: int,
    cluster: str | None,
    certs: Path,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a scenario at many points and say which of them nothing beats.

    FILE names the scenario, the axes and what is wanted:

    \b
      scenario: quickstart
      axes:
        instances.0.engine.max_num_seqs: [16, 64, 256]
        workload.request_rate: {low: 2, high: 16, count: 4, spacing: log}
      objectives: {output_throughput: max, p99_ttft_ms: min}
      constraints: {p99_tpot_ms: {max: 60}}

    Points that were computed are kept in the folder: a sweep that was stopped goes on where it was. Writes sweep.csv,
    sweep.json and sweep.html. With `search: {method: random, points: 50}`, or bayesian, not every point is tried.
    Without a file:

    \b
      metronome sweep quickstart --axis instances.0.engine.max_num_seqs=16,64 --axis workload.request_rate=2,6
    """
    path = Path(file)
    output = output or Path("out") / path.stem
    sweep = of_axes(file, axes) if axes else load(path)
    sweep = sweep.model_copy(update={"set": {**sweep.set, **parse_overrides(overrides)}})
    _make(output)
    with counting_bar("points", quiet or as_json) as tell:
        places = computing.cluster_at(cluster, certs)
        study = Study(sweep, Path() if axes else path.parent, output, workers, tell, places)
        table = _computed(study, output)
    _write(table, output)
    for text in () if quiet else study.warnings:
        click.echo(f"warning: {text}", err=True)
    if as_json:
        click.echo(table.as_json(), nl=False)
    elif not quiet:
        _show(table)
        click.echo(f"{study.computed} points computed, {study.kept} were there; results in {output}")


def _make(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(output), "results", None, f"cannot be written: {error}") from None


def _computed(study: Study, output: Path) -> Table:
    """Whoever ends it early finds the table of what was computed."""
    try:
        return study.run()
    except (KeyboardInterrupt, ClusterFailure) as error:
        _write(study.table(), output)
        ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "ended early"
        click.echo(f"metronome: {ended}; {study.computed + study.kept} points are in {output}", err=True)
        raise


def _write(table: Table, output: Path) -> None:
    (output / "sweep.csv").write_text(table.as_csv())
    (output / "sweep.json").write_text(table.as_json())
    (output / "sweep.html").write_text(render(table))


def _show(table: Table) -> None:
    """The front, and how many there are beside it."""
    names = table.columns()
    rows = [(describe(row), *(number(row["figures"].get(name)) for name in names)) for row in table.front]
    grid.show(f"{table.sweep.scenario}: what nothing beats", ("point", *names), rows, names=0)
    bad = [row for row in table.rows if row["status"] != "complete"]
    beyond = sum(not row["within"] for row in table.rows if row["status"] == "complete")
    click.echo(
        f"{len(table.rows)} points: {len(table.front)} on the front, {beyond} beyond a constraint, {len(bad)} failed"
    )
    for row in bad[:3]:
        click.echo(f"  {describe(row)}: {row['error']}")

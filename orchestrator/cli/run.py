"""``metronome run``."""

from __future__ import annotations

import gc
import time
import warnings
from pathlib import Path

import click

from ..api import execute
from ..scenario.loading import DEFAULT, load
from ..scenario.schema import Scenario
from .progress import progress_bar


@click.command("run")
@click.argument("scenario", required=False)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results [default: out/SCENARIO].",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Override one field, e.g. instances.0.engine.max_num_seqs=64.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Replace the scenario's seed.")
@click.option("--record", is_flag=True, help="Keep every event and answer, to replay, compare and debug the run.")
@click.option("--trace", is_flag=True, help="Also write trace.pftrace, for ui.perfetto.dev.")
@click.option(
    "--compare-fidelity", metavar="KIND=MODEL,...", help="Run it with each of these models of that kind, or component."
)
@click.option("--strict", is_flag=True, help="A request that cannot be served ends the run; so do lines out of order.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    scenario: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int | None,
    record: bool,
    trace: bool,
    compare_fidelity: str | None,
    strict: bool,
    quiet: bool,
) -> None:
    """Run SCENARIO (a file, or the name of a bundled one) and write its results.

    Without SCENARIO the bundled quick start runs.

    \b
      metronome run
      metronome run my.yaml -o out/a --set router.policy=round-robin
      metronome run my.yaml --compare-fidelity network=alpha-beta,fabric
    """
    started = time.perf_counter()
    if quiet:
        warnings.simplefilter("ignore")
    loaded, folder = load(scenario, overrides, seed)
    output = output or Path("out") / Path(scenario or DEFAULT).stem
    if compare_fidelity:
        from .fidelity import climb

        climb(loaded, folder, output, compare_fidelity, quiet)
        return
    with progress_bar(quiet, _requests(loaded)) as progress:
        result, failure = execute(loaded, folder, output, started, progress, record, trace, settle_memory, strict)
    for text in result.metrics["metronome"].get("warnings", ()):
        click.echo(f"warning: {text}", err=True)
    if not quiet:
        from rich.console import Console

        from ..report.table import show

        show(result.metrics, Console(soft_wrap=True))
        click.echo(f"results in {output}")
    if failure:
        what = "interrupted" if isinstance(failure, KeyboardInterrupt) else "the run failed"
        click.echo(f"metronome: {what}; partial results are in {output}", err=True)
        raise failure


def _requests(scenario: Scenario) -> int | None:
    """How many there will be, where the scenario says; a file is read as the run goes."""
    said: int | None = getattr(scenario.workload, "num_requests", None)
    limits = [number for number in (said, scenario.workload.limit) if number is not None]
    return min(limits, default=None)


def settle_memory() -> None:
    """What exists by now lives to the end, and the loop makes few cycles: saves a tenth of it."""
    gc.collect()
    gc.freeze()

"""``metronome run``."""

from __future__ import annotations

import gc
import shutil
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Union

import click

from ..api import execute
from ..errors import InputError
from ..report.underway import requests_of
from ..scenario.loading import DEFAULT, load
from ..scenario.schema import Scenario
from .answers import json_option, say, show_json
from .complete import scenarios
from .progress import progress_bar

if TYPE_CHECKING:
    from ..errors import MetronomeError
    from ..record.recording import Recording
    from ..report.result import Result

Ended = Union["MetronomeError", KeyboardInterrupt, None]


@click.command("run")
@click.argument("scenario", required=False, shell_complete=scenarios)
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
@click.option(
    "--resume",
    type=click.Path(exists=True, path_type=Path),
    metavar="RECORDING",
    help="Go on with a run with --record that was killed, interrupted or failed, to the result it would have had.",
)
@click.option(
    "--intervals",
    is_flag=True,
    help="Run it twice more, with every component quicker and slower by its error bar: intervals that know of queues.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes on this machine, each with some of the instances; the results are the same.",
)
@click.option("--cluster", metavar="ADDRESS", help="The workers of this Dask scheduler instead, in as many parts.")
@click.option(
    "--certs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="Certificates for a cluster at tls://, as `metronome certs` makes them.",
)
@click.option("--strict", is_flag=True, help="A request that cannot be served ends the run; so do lines out of order.")
@json_option
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    scenario: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int | None,
    record: bool,
    trace: bool,
    compare_fidelity: str | None,
    resume: Path | None,
    intervals: bool,
    workers: int,
    cluster: str | None,
    certs: Path,
    strict: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run SCENARIO (a file, or the name of a bundled one) and write its results.

    Without SCENARIO the bundled quick start runs.

    \b
      metronome run my.yaml -o out/a --set router.policy=round-robin
      metronome run my.yaml --workers 2
      metronome run my.yaml --compare-fidelity network=alpha-beta,fabric
      metronome run --resume out/my
    """
    started = time.perf_counter()
    if as_json and compare_fidelity:
        raise InputError("run", "--json", None, "not with --compare-fidelity; its folders have a result.json each")
    if intervals and compare_fidelity:
        raise InputError("run", "--intervals", None, "not with --compare-fidelity")
    apart = workers > 1 or cluster is not None
    if apart and (record or trace or resume or compare_fidelity or intervals):
        other = "--record, --trace, --resume, --compare-fidelity, --intervals"
        raise InputError("run", "--workers, --cluster", None, f"not with any of {other}: these are of one process")
    if cluster is not None and workers == 1:
        raise InputError("run", "--cluster", cluster, "into how many parts the run is split is said by --workers")
    if quiet:
        warnings.simplefilter("ignore")
    recording = None
    if resume:
        if overrides or seed is not None or compare_fidelity:
            raise InputError("run", "--set, --seed, --compare-fidelity", None, "not with --resume: it is the same run")
        recording, loaded, output = _to_resume(resume, scenario, output)
        folder, record = recording.inputs.folder, True
    else:
        loaded, folder = load(scenario, overrides, seed)
        output = output or Path("out") / Path(scenario or DEFAULT).stem
    if compare_fidelity:
        from .fidelity import climb

        climb(loaded, folder, output, compare_fidelity, quiet)
        return
    if apart:
        from ..sweep.places import Cluster
        from .run_split import run_split

        where = None if cluster is None else Cluster(cluster, certs)
        what = scenario or DEFAULT, overrides, seed
        result, failure = run_split(loaded, folder, *what, output, workers, where, strict, quiet or as_json)
        _end(result, failure, output, quiet, as_json)
        return
    with progress_bar(quiet or as_json, requests_of(loaded)) as progress:
        ways = record, trace, settle_memory, strict, recording, intervals
        result, failure = execute(loaded, folder, output, started, progress, *ways)
    _end(result, failure, output, quiet, as_json)


def _end(result: Result, failure: Ended, output: Path, quiet: bool, as_json: bool) -> None:
    """Raises what ended it early."""
    _show(result, output, quiet, as_json)
    if failure:
        what = "interrupted" if isinstance(failure, KeyboardInterrupt) else "the run failed"
        if result.status == "complete":
            say(f"metronome: the run is complete, and in {output}; only intervals of more runs are missing: {what}")
        else:
            say(f"metronome: {what}; partial results are in {output}")
        failure.told = True  # type: ignore[union-attr]
        raise failure


def _show(result: Result, output: Path, quiet: bool, as_json: bool) -> None:
    for text in () if quiet else result.metrics["metronome"].get("warnings", ()):
        say(f"metronome: warning: {text}")
    if as_json:
        show_json({"output": str(output), **result.metrics})
    elif not quiet:
        from rich.console import Console

        from ..report.table import show

        show(result.metrics, Console(soft_wrap=True))
        click.echo(f"results in {output}")


def _to_resume(path: Path, scenario: str | None, output: Path | None) -> tuple[Recording, Scenario, Path]:
    """The recording that is gone on with, in the folder that results go to, and what is run. Raises InputError.

    It is written on where it is, unless results are wanted elsewhere: then a copy of it is.
    """
    from ..record.recording import Recording
    from ..record.resume import to_go_on

    found = Recording(path)
    loaded = to_go_on(found, load(scenario, (), None)[0] if scenario else None)
    if output is None:
        if found.folder.name != "recording":
            raise InputError("run", "--resume", str(path), "lies in no folder of results; say where these go: -o DIR")
        output = found.folder.parent
    place = output / "recording"
    if place.resolve() != found.folder.resolve():
        if place.exists():
            raise InputError(str(place), "recording", None, "is there already; move it away")
        shutil.copytree(found.folder, place)
        found = Recording(place)
    return found, loaded, output


def settle_memory() -> None:
    """What exists by now lives to the end, and the loop makes few cycles: saves a tenth of it."""
    gc.collect()
    gc.freeze()

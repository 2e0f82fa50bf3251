"""``metronome run``."""

from __future__ import annotations

import gc
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ..errors import MetronomeError
from ..report.recorder import Progress
from ..report.results import Ending, write
from ..scenario.inputs import Inputs
from ..scenario.loading import DEFAULT, load
from ..scenario.schema import Scenario
from ..simulation import LiveSource, Simulation, Source

PS_PER_S = 10**12


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
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(
    scenario: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int | None,
    record: bool,
    trace: bool,
    compare_fidelity: str | None,
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
    loaded, folder = load(scenario, overrides, seed)
    output = output or Path("out") / Path(scenario or DEFAULT).stem
    if compare_fidelity:
        from .fidelity import climb

        climb(loaded, folder, output, compare_fidelity, quiet)
        return
    data, failure = run_one(loaded, folder, output, started, record, trace, quiet)
    if not quiet:
        from rich.console import Console

        from ..report.table import show

        show(data, Console(soft_wrap=True))
        click.echo(f"results in {output}")
    if failure:
        what = "interrupted" if isinstance(failure, KeyboardInterrupt) else "the run failed"
        click.echo(f"metronome: {what}; partial results are in {output}", err=True)
        raise failure


def run_one(
    scenario: Scenario,
    folder: Path,
    output: Path,
    started: float,
    record: bool = False,
    trace: bool = False,
    quiet: bool = False,
) -> tuple[dict[str, Any], MetronomeError | KeyboardInterrupt | None]:
    """One run and its files in ``output``; returns the content of result.json, and what ended the run early."""
    ending = Ending()
    failure: MetronomeError | KeyboardInterrupt | None = None
    inputs = Inputs(folder)
    source: Source = LiveSource(output / "logs")
    recorder = None
    if record or trace:
        from ..record.recording import RecordingSource
        from ..record.replay import check_trace

        if trace:
            check_trace()
        source = recorder = RecordingSource(source, output / "recording", scenario, inputs)
    with progress_bar(quiet) as progress, Simulation(scenario, inputs, source, progress) as simulation:
        for text in simulation.warnings:
            click.echo(f"warning: {text}", err=True)
        settle_memory()
        startup_s = time.perf_counter() - started
        try:
            simulation.run(recorder.writer.see if recorder and recorder.writer else None)
        except KeyboardInterrupt as error:
            ending, failure = Ending("interrupted"), error
        except MetronomeError as error:
            ending, failure = Ending("failed", str(error)), error
        data = write(simulation, output, startup_s, ending)
        if recorder and recorder.writer:
            recorder.writer.close(ending.status, ending.error)
    if recorder and trace:
        _trace(output, recorder.folder, keep=record)
    return data, failure


def _trace(output: Path, folder: Path, keep: bool) -> None:
    """Written from the recording, so that the run itself is not slowed."""
    from ..record.recording import Recording
    from ..record.replay import write_trace

    write_trace(Recording(folder), output / "trace.pftrace")
    if not keep:
        shutil.rmtree(folder)


def settle_memory() -> None:
    """What exists by now lives to the end, and the loop makes few cycles: saves a tenth of it."""
    gc.collect()
    gc.freeze()


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress | None]:
    """Simulated time, requests done and tokens per wall second, on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with Bar(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("starting")
        started = time.perf_counter()

        def update(now_ps: int, done: int, tokens: int) -> None:
            wall = time.perf_counter() - started
            bar.update(
                task,
                description=f"{now_ps / PS_PER_S:,.1f} s simulated, {done} requests, {tokens / wall:,.0f} tokens/s",
            )

        yield update

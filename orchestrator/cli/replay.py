"""``metronome replay``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..report.results import write
from ..simulation import Simulation
from .answers import json_option, show_json
from .progress import progress_bar
from .run import settle_memory


@click.command("replay")
@click.argument("recording", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/replay"),
    show_default=True,
    help="Folder for the results.",
)
@click.option("--trace", is_flag=True, help="Also write a Perfetto trace, trace.pftrace.")
@json_option
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def command(recording: Path, output: Path, trace: bool, as_json: bool, quiet: bool) -> None:
    """Run RECORDING (a folder made by `metronome run --record`) again without its components.

    Its results are those of the recorded run, byte for byte. If this program decides otherwise than the
    one that recorded, the first event that differs is named and the exit code is 1. A recording cut short
    by a crash is replayed up to its end.
    """
    from ..record.recording import Recording
    from ..record.replay import ReplayTape, check_trace, replay, write_trace

    if trace:
        check_trace()
    started = time.perf_counter()
    found = Recording(recording)
    tape = ReplayTape(found.journal)
    source = found.source(tape)
    with (
        progress_bar(quiet or as_json) as progress,
        Simulation(found.scenario, found.inputs, source, progress, whole=False) as simulation,
    ):
        settle_memory()
        startup_s = time.perf_counter() - started
        ending = replay(simulation, found.journal, tape)
        data = write(simulation, output, startup_s, ending)
    if trace:
        write_trace(found, output / "trace.pftrace")
    if as_json:
        show_json({"output": str(output), "events": tape.event, **data})
    elif not quiet:
        from rich.console import Console

        from ..report.table import show

        show(data, Console(soft_wrap=True))
        click.echo(f"{tape.event} events replayed without a difference; results in {output}")
        if ending.status != "complete":
            click.echo(f"the recorded run did not complete ({ending.status}): {ending.error}")

"""``metronome debug``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import InputError, MetronomeError
from ..scenario.inputs import Inputs
from ..scenario.loading import load
from ..scenario.origin import naming_its_file
from ..source import LiveSource
from .complete import scenarios

if TYPE_CHECKING:
    from ..debug.session import DebugSession


@click.command("debug")
@click.argument("scenario", required=False, shell_complete=scenarios)
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the results.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")
@click.option("--seed", type=click.IntRange(min=0), help="Replace the scenario's seed.")
@click.option(
    "-x", "script", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Commands to begin with."
)
@click.option("--batch", is_flag=True, help="End after the script. Exit code 2 if a command was refused.")
@click.option(
    "--dap", type=click.IntRange(0, 65535), metavar="PORT", help="Serve a Debug Adapter Protocol client on loopback."
)
@click.option("--dap-stdio", is_flag=True, help="Serve a Debug Adapter Protocol client on standard input and output.")
def command(
    scenario: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    seed: int | None,
    script: Path | None,
    batch: bool,
    dap: int | None,
    dap_stdio: bool,
) -> None:
    """Step through a run, both ways: stop at events, look at any state, ask why.

    SCENARIO is a file, the name of a bundled scenario, or a recording (a folder made by `metronome run
    --record`), which is debugged without its components. The debugger never changes a result.

    \b
      metronome debug prefill-decode
      metronome debug out/quickstart          # a recording
      metronome debug my.yaml -x script --batch
    """
    if dap is not None or dap_stdio:
        from ..debug.dap import serve_stdio, serve_tcp

        def make(program: str | None) -> DebugSession:
            return open_session(program or scenario, overrides, seed, output)

        serve_stdio(make) if dap_stdio else serve_tcp(make, dap or 0, lambda text: click.echo(text, err=True))
        return
    from ..debug.console import Console

    color = sys.stdout.isatty() and not batch
    with open_session(scenario, overrides, seed, output) as session, pausing(session):
        console = Console(session, color=color)
        if script:
            console.script(script.read_text().splitlines())
        if not batch:
            console.cmdloop("" if script else None)
        if output:
            save(session, output)
    if batch and console.failed:
        sys.exit(2)


def open_session(
    scenario: str | None, overrides: tuple[str, ...], seed: int | None, output: Path | None
) -> DebugSession:
    """A session of a scenario, or of a recording. Raises InputError, ComponentFailure."""
    from ..debug.session import DebugSession
    from ..record.recording import JOURNAL, Recording

    path = Path(scenario) if scenario else None
    if path and ((path / JOURNAL).is_file() or (path / "recording" / JOURNAL).is_file()):
        if overrides or seed is not None:
            raise InputError(
                "debug", "--set, --seed", None, "a recording cannot be changed; debug the scenario instead"
            )
        return DebugSession.recorded(Recording(path))
    loaded, folder = load(scenario, overrides, seed)
    with naming_its_file(loaded):
        return DebugSession.live(loaded, Inputs(folder), LiveSource(output / "logs" if output else None))


def save(session: DebugSession, output: Path) -> None:
    """Results of the run as far as it has come, marked if it was edited."""
    from ..report.result import Ending
    from ..report.results import write

    ending = Ending() if session.ended and not session.failure else Ending("interrupted", "left in the debugger")
    if session.failure:
        ending = Ending("failed", str(session.failure))
    if session.edits:
        changes = ", ".join(f"{e.path} = {e.value} from event {e.event}" for e in session.edits)
        ending = Ending("edited", changes)
    try:
        write(session.simulation, output, 0.0, ending)
    except MetronomeError as error:
        raise InputError(str(output), "results", None, f"cannot be written: {error}") from None
    click.echo(f"results in {output}")


@contextmanager
def pausing(session: DebugSession) -> Iterator[None]:
    """Ctrl-C pauses between two events; a second one, while it has not, interrupts whatever hangs."""

    def pause(*_: object) -> None:
        if session.interrupted:
            raise KeyboardInterrupt
        session.interrupted = True

    with ExitStack() as stack:
        before = signal.signal(signal.SIGINT, pause)
        stack.callback(signal.signal, signal.SIGINT, before)
        yield

"""``metronome view``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..debug.forks import fork
from ..debug.session import DebugSession
from ..debug.timeline import Timeline
from ..errors import InputError, NoEffectWarning
from ..record.recording import JOURNAL, Recording
from ..report.underway import look, requests_of
from ..scenario.inputs import Inputs
from ..scenario.loading import load, of_mapping
from ..source import LiveSource
from .complete import scenarios

if TYPE_CHECKING:
    from ..view.viewer import Viewer


class Opener:
    """Sessions of what the command line names: a scenario, a run's folder, a recording."""

    def __init__(self, named: str | None, overrides: tuple[str, ...], seed: int | None) -> None:
        """Raises InputError."""
        path = Path(named) if named else None
        self._recording: Recording | None = None
        again = False
        if path and ((path / JOURNAL).is_file() or (path / "recording" / JOURNAL).is_file()):
            if overrides or seed is not None:
                raise InputError("view", "--set, --seed", None, "a recording cannot be changed; view the scenario")
            self._recording = Recording(path)
            self.scenario, self.inputs = self._recording.scenario, self._recording.inputs
        else:
            if path and (path / "result.json").is_file():
                named, again = str(path / "scenario.yaml"), True  # a run that was not recorded: it is run again
            self.scenario, folder = load(named, overrides, seed)
            self.inputs = Inputs(folder)
        self.title = "recording" if self._recording else "run"
        self._said = again or self.recorded
        self.total = requests_of(self.scenario)

    @property
    def recorded(self) -> bool:
        return self._recording is not None

    def open(self, timeline: Timeline) -> DebugSession:
        if self._recording:
            return DebugSession.recorded(self._recording, timeline)
        with self._quiet():
            return DebugSession.live(self.scenario, self.inputs, LiveSource(), timeline)

    def fork(self, session: DebugSession, timeline: Timeline) -> DebugSession:
        with self._quiet():
            return fork(session, LiveSource(), timeline)

    def again(self, session: DebugSession, path: str, value: str, timeline: Timeline) -> DebugSession:
        content = session.simulation.scenario.model_dump(mode="json", exclude_unset=True)
        changed = of_mapping(content, [f"{path}={value}"])
        with self._quiet():
            return DebugSession.live(changed, self.inputs, LiveSource(), timeline)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """What has no effect was said when the run was made, and what a run leaves names every field there is."""
        with warnings.catch_warnings():
            if self._said:
                warnings.simplefilter("ignore", NoEffectWarning)
            yield


@click.command("view")
@click.argument("scenario", required=False, metavar="[SCENARIO | RUN | RECORDING]", shell_complete=scenarios)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="On loopback; 0 chooses a free one.")
@click.option("--set", "overrides", multiple=True, metavar="PATH=VALUE", help="Override one field.")
@click.option("--seed", type=click.IntRange(min=0), help="Replace the scenario's seed.")
def command(scenario: str | None, port: int, overrides: tuple[str, ...], seed: int | None) -> None:
    """The debugger in a browser: see a run on a time line, go back and forth in it, ask why.

    It prints an address that only this machine can open; the token in it keeps others out. Ctrl-C ends it.

    \b
      metronome view slow-link        # a scenario: it rests before its first event; press Continue
      metronome view out/a            # a run made with --record: all of it is there, no component is asked
      metronome view out/quickstart   # a run without a recording: its scenario is run again
      metronome view out/b            # a run that is going on: how far it is, its figures so far

    \b
    On the page: click a step, an operation or a request to see what it is, to go there, or to stop there.
      s, b             one event on, back        c, r   on, back to the next stop
      + - 0, arrows    zoom and move             ?      all keys
    """
    from ..view.server import listening
    from ..view.watch import Watch

    watch = Watch(Path(scenario)) if scenario and look(Path(scenario)) else None
    if watch is None or watch.over():
        with _viewer(Opener(scenario, overrides, seed)) as viewer, listening(viewer, port) as server:
            _say(server.address)
            viewer.serve()
        return
    if overrides or seed is not None:
        raise InputError("view", "--set, --seed", None, "a run that is going on cannot be changed; view its scenario")
    with listening(watch, port) as server:
        _say(server.address)
        watch.wait()
        with _viewer(Opener(scenario, (), None)) as viewer:
            server.front = viewer
            viewer.serve()


@contextmanager
def _viewer(opener: Opener) -> Iterator[Viewer]:
    """Of what can be looked into; a recording is played to its end."""
    from ..view.viewer import Viewer

    with Viewer(opener) as viewer:
        if opener.recorded:
            viewer.run(viewer.get(1), stops=False)
        yield viewer


def _say(address: str) -> None:
    click.echo(f"open {address}\nCtrl-C ends it")

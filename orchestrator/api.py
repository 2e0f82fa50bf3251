"""The front door for Python: `metronome.run`, `load`, `compare`, `why`, `counterfactual` and what they give.

Nothing here changes the process it is called in: usable in a notebook, a sweep's worker, somebody else's test.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from . import reruns
from .errors import InputError, MetronomeError
from .report import reference, underway
from .report.html import write as write_report
from .report.patience import Patience
from .report.requests import Spool
from .report.result import Ending, Result
from .report.results import collect
from .scenario import loading
from .scenario.inputs import Inputs
from .scenario.origin import naming_its_file
from .scenario.schema import Scenario
from .simulation import Simulation
from .source import LiveSource, Source

if TYPE_CHECKING:
    from .debug.counterfactual import Counterfactual
    from .debug.session import DebugSession
    from .debug.why import LatencySplit
    from .record.journal import JournalWriter
    from .record.recording import Recording
    from .record.resume import ResumeTape

__all__ = ["compare", "counterfactual", "load", "run", "why"]

WRITTEN = (
    "result.json",
    "requests.csv",
    "timeseries.csv",
    "failed.csv",
    "scenario.yaml",
    "report.html",
    "trace.pftrace",
    Spool.NAME,
    underway.NAME,
)


def load(
    source: str | Path | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Scenario:
    """A scenario: of a file, of a bundled one's name, or of the content of one; None = the bundled quick start.

    ``overrides`` are values by path: ``{"instances.0.engine.max_num_seqs": 64}``. Paths within a file start from its
    folder, which `run` needs to be told for a scenario loaded apart. Raises InputError.
    """
    return _load(source, overrides, seed)[0]


def _load(
    source: str | Path | Mapping[str, Any] | None, overrides: Mapping[str, Any] | None, seed: int | None
) -> tuple[Scenario, Path]:
    if isinstance(source, Mapping):
        return loading.of_mapping(source, overrides or {}, seed), Path()
    return loading.load(None if source is None else str(source), overrides or {}, seed)


def run(
    scenario: Scenario | str | Path | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    instruments: Sequence[object] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    seed: int | None = None,
    folder: str | Path | None = None,
    record: bool = False,
    trace: bool = False,
    strict: bool = False,
    intervals: bool = False,
) -> Result:
    """Run a scenario to its end.

    ``out`` is where result files go; without it nothing is written. ``instruments`` look on
    (`metronome.Instrument`). ``folder`` is where relative paths of a scenario given as a value start from (default:
    the working directory). ``record`` and ``trace`` need ``out``. With ``strict`` a request that cannot be
    served, or lines out of order, end the run. With ``intervals`` it is run twice more (`orchestrator/reruns.py`).

    Raises InputError for a scenario that cannot be, ComponentFailure, StalledError and the like for a run that ends
    early: the error's ``result`` then holds what there is until then, which is also written.
    """
    started = time.perf_counter()
    if isinstance(scenario, Scenario):
        if overrides or seed is not None:
            raise InputError("run", "overrides", None, "go with a scenario that is yet to be loaded")
        loaded, base = scenario, Path()
    else:
        loaded, base = _load(scenario, overrides, seed)
    target = None if out is None else Path(out)
    if target is None and (record or trace):
        raise InputError("run", "record, trace", None, "need a folder to write to: out")
    base, watching = Path(folder or base), (instruments, record, trace)
    result, failure = execute(loaded, base, target, started, *watching, strict=strict, intervals=intervals)
    if failure is not None:
        if isinstance(failure, MetronomeError):
            failure.result = result
        raise failure
    return result


def compare(
    run: Result | str | Path, against: Result | str | Path, anchor: str = "arrival", entry: int | None = None
) -> tuple[list[reference.ComparedFigure], dict[str, float]]:
    """Errors of a run against a real server's log or another run, metric by metric, and per-request MAPE.

    Folders and files as `metronome compare` takes them; ``entry`` (from 1) chooses among several results of
    ``against``. Raises InputError.
    """
    one, other = (
        reference.of_result(side, anchor) if isinstance(side, Result) else reference.read(Path(side), anchor, which)
        for side, which in ((run, None), (against, entry))
    )
    return reference.compare(one, other)


def why(
    scenario: Scenario | str | Path | Mapping[str, Any], request: int, *, folder: str | Path | None = None
) -> LatencySplit:
    """Where the latency of a request came from, in parts (ps) that add up to it. The scenario is run to its end.

    ``folder`` as in `run`. Raises InputError for a request that never arrives; what ends a run early.
    """
    from .debug.why import why as split

    with _debugged(scenario, folder) as session:
        return split(session, request)


def counterfactual(
    scenario: Scenario | str | Path | Mapping[str, Any],
    request: int,
    *,
    without: Sequence[int] = (),
    values: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> Counterfactual:
    """Where it would have come from without other requests, or with other values of the scenario by path.

    Raises InputError also for a request that is not done, or is not served then, and for a change that cannot be.
    """
    from .debug.beside import Change
    from .debug.counterfactual import counterfactual as otherwise

    with _debugged(scenario, folder) as session:
        return otherwise(session, request, Change(tuple(without), dict(values or {})))


@contextmanager
def _debugged(scenario: Scenario | str | Path | Mapping[str, Any], folder: str | Path | None) -> Iterator[DebugSession]:
    """A session at the end of the run."""
    from .debug.session import DebugSession

    loaded, base = (scenario, Path()) if isinstance(scenario, Scenario) else _load(scenario, None, None)
    with DebugSession.live(loaded, Inputs(Path(folder or base)), LiveSource()) as session:
        session.run()
        if session.failure is not None:
            raise session.failure
        yield session


def execute(
    scenario: Scenario,
    folder: Path,
    out: Path | None,
    started: float,
    instruments: Sequence[object] = (),
    record: bool = False,
    trace: bool = False,
    prepared: Callable[[], None] = lambda: None,
    strict: bool = False,
    resume: Recording | None = None,
    intervals: bool = False,
) -> tuple[Result, MetronomeError | KeyboardInterrupt | None]:
    """One run, and its files in ``out`` if given; returns its result, and what ended it early.

    ``prepared`` is called when everything is built. ``resume`` is the recording in ``out`` that is gone on with. With
    ``intervals`` a run that is complete is run twice more, when its files are written.
    Raises InputError for what is found before time 0.
    """
    if not resume:
        clear(out)
    inputs = resume.inputs if resume else Inputs(folder)
    source: Source = LiveSource(out / "logs" if out else None)
    recorder = tape = None
    if resume:
        from .record.resume import ResumedSource, ResumeTape

        tape = ResumeTape(resume.journal)
        source = ResumedSource(source, tape)
    elif out and (record or trace):
        from .record.recording import EventsRecorded, RecordingSource
        from .record.replay import check_trace

        if trace:
            check_trace()
        source = recorder = RecordingSource(source, out / "recording", scenario, inputs)
    patience, off = Patience(), None
    with naming_its_file(scenario), underway.under_way(out, scenario):
        with (
            patience.watching(),
            Simulation(scenario, inputs, source, instruments, strict=strict, whole=False) as simulation,
        ):
            if resume:  # up to here it can be refused, and then all stays as it is
                clear(out)
            prepared()
            startup_s = time.perf_counter() - started
            spool = Spool(out, [replica.name for replica in simulation.replicas]) if out else None
            writer = tape.writer if tape else recorder.writer if recorder else None
            keeping: list[object] = [spool] if spool else []
            if writer and not tape:
                keeping.append(EventsRecorded(writer))
            ending, failure = _run(simulation, keeping, tape, patience)
            result = collect(simulation, startup_s, ending)
            if out and spool:
                _write(result, scenario, out, spool, writer, ending)
            if intervals and failure is None:
                off = reruns.errors(simulation, result.metrics["metronome"]["components"])
        if out and trace:
            _trace(out, out / "recording", keep=record)
    if off and result.metrics["metronome"]["error_bars"] is not None:
        failure = _widen(result, scenario, inputs, out, strict, *off)
    return result, failure


def _widen(
    result: Result,
    scenario: Scenario,
    inputs: Inputs,
    out: Path | None,
    strict: bool,
    off: Mapping[str, float],
    left: Sequence[str],
) -> MetronomeError | KeyboardInterrupt | None:
    """Its intervals become those of three runs, but for components that are ``left`` as they are. Returns what ended
    the others early: then the result stays as it is."""
    own = result.metrics["metronome"]
    try:
        with naming_its_file(scenario):
            found = reruns.intervals(scenario, inputs, strict, off, result.metrics)
    except (KeyboardInterrupt, MetronomeError) as error:
        return error
    own["error_bars"] |= found | {"runs": 3, **({"left": list(left)} if left else {})}
    if out:
        result.write_metrics(out)
        write_report(result, scenario, out)
    return None


def _run(
    simulation: Simulation, instruments: Sequence[object], tape: ResumeTape | None, patience: Patience
) -> tuple[Ending, MetronomeError | KeyboardInterrupt | None]:
    """To its end, or to what ends it early, from then on with ``patience``; one gone on with goes along a ``tape``."""
    try:
        for instrument in instruments:
            simulation.instruments.add(instrument)
        simulation.run(tape.check if tape else None)
        patience.held = True
    except KeyboardInterrupt as error:
        return Ending("interrupted"), error
    except MetronomeError as error:
        return Ending("failed", str(error)), error
    finally:
        patience.held = True
    return Ending(), None


def _write(
    result: Result, scenario: Scenario, out: Path, spool: Spool, writer: JournalWriter | None, ending: Ending
) -> None:
    """All files but the trace. Raises InputError."""
    try:
        result.write(out)
        spool.remove()
        write_report(result, scenario, out)
        if writer:
            writer.close(ending.status, ending.error)
    except OSError as error:
        raise InputError(str(out), "results", None, f"cannot be written: {error}") from None


def clear(out: Path | None) -> None:
    """An earlier run's files never pose as this one's. Raises InputError for a folder that cannot be written to."""
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in WRITTEN:  # before the first goes
            if (out / name).is_dir():
                raise InputError(str(out / name), "output", None, "is a folder where a run writes a file")
        for name in WRITTEN:
            (out / name).unlink(missing_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(str(out), "output", None, f"cannot be written to: {error}") from None


def _trace(out: Path, folder: Path, keep: bool) -> None:
    """Written from the recording, so that the run itself is not slowed."""
    from .record.recording import Recording
    from .record.replay import write_trace

    write_trace(Recording(folder), out / "trace.pftrace")
    if not keep:
        shutil.rmtree(folder)

"""Running a recorded scenario again without its components, and noticing where it goes another way."""

from __future__ import annotations

from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ComponentFailure, DivergenceError, InputError, RecordingEndsError
from ..kernel.queue import Event
from ..report.result import Ending
from ..simulation import Simulation
from .exchange import Exchange
from .journal import Journal, Row
from .recording import Recording


class ReplayTape:
    """The answers of a journal in order, and its events to check against; one block or few in memory."""

    def __init__(self, journal: Journal) -> None:
        self.event = 0
        self.incidents: dict[str, dict[str, Any]] = {}
        self.interrupted = journal.ending is not None and journal.ending["status"] == "interrupted"
        self._events = journal.events
        self._blocks = journal.blocks()
        self._rows: deque[Row] = deque()
        self._sessions: dict[str, deque[Exchange]] = {}

    def get(self, session: str, index: int) -> Exchange | None:
        kept = self._sessions.setdefault(session, deque())
        while not kept:
            if not self._load():
                return None
        return kept.popleft()

    def add(self, exchange: Exchange) -> None:
        raise RecordingEndsError(f"the recording ends at event {self.event}")

    def mark(self, component: str, incident: dict[str, Any]) -> None:
        raise RecordingEndsError(f"the recording ends at event {self.event}")

    def check(self, event: Event) -> None:
        """The event about to act must be the recorded one. Raises DivergenceError, RecordingEndsError."""
        self.event += 1
        while not self._rows:
            if not self._load():
                raise RecordingEndsError(f"the recording ends after event {self._events}")
        recorded, now = self._rows.popleft(), Row.of(event)
        if recorded != now:
            raise DivergenceError(self.event, describe(now), differences(recorded, now))

    def _load(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self._rows.extend(block.rows)
        self.incidents |= block.incidents
        for exchange in block.exchanges:
            self._sessions.setdefault(exchange.session, deque()).append(exchange)
        return True


def describe(row: Row) -> str:
    return f"{row.kind} {row.about} at {row.time_ps} ps (rank {row.rank})"


def differences(a: Row, b: Row) -> dict[str, tuple[object, object]]:
    """Fields of two events that differ."""
    return {name: (x, y) for name, x, y in zip(Row._fields, a, b, strict=True) if x != y}


def write_trace(recording: Recording, path: Path) -> None:
    """A recorded run, replayed with an instrument that writes a Perfetto trace.

    Raises InputError, DivergenceError.
    """
    from ..instruments.perfetto import Trace, Watcher
    from ..power import devices
    from ..report.results import booked

    tape = ReplayTape(recording.journal)
    with (
        Simulation(recording.scenario, recording.inputs, recording.source(tape), whole=False) as simulation,
        Trace(path) as trace,
    ):
        members = {loop.name: loop.members for loop in simulation.loops}
        watcher = Watcher(trace, members)
        simulation.instruments.add(watcher)
        replay(simulation, recording.journal, tape)
        watcher.finish(simulation.kernel.now_ps)
        if devices.known(recording.scenario):
            ledger = booked(simulation)
            for place, watts in enumerate(ledger.watts().tolist()):
                trace.count(place * ledger.width_ps, watts, "W", "power", "cluster")


def check_trace() -> None:
    """Raises InputError where traces cannot be written."""
    if find_spec("perfetto") is None:
        raise InputError("run", "--trace", None, "needs the package perfetto: pip install 'metronome-cosim[trace]'")


def replay(simulation: Simulation, journal: Journal, tape: ReplayTape) -> Ending:
    """Run to where the recording ends. Raises DivergenceError."""
    try:
        simulation.run(tape.check)
    except ComponentFailure as failure:
        return Ending("failed", str(failure))
    except RecordingEndsError as end:
        if journal.ending is None:
            return Ending("interrupted", str(end))
        if journal.ending["status"] == "complete":
            raise DivergenceError(tape.event, "the recorded run had ended before", {}) from None
        return Ending(journal.ending["status"], journal.ending["error"])
    if tape.event < journal.events:
        recorded = describe(journal.row(tape.event + 1))
        raise DivergenceError(tape.event + 1, "nothing happens any more", {"event": (recorded, "none")})
    return Ending()

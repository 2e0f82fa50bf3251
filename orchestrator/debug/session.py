"""A run that can be stepped both ways, stopped, looked into and sent another way.

A session rests *before* an event: event N is taken from the queue and has not acted yet. Going back
copies the nearest checkpoint before and runs forward from there, with the answers that are on the tape;
components are asked only beyond what has happened so far, so going back and forth changes nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..errors import (
    DivergenceError,
    ExtensionFailure,
    InputError,
    MetronomeError,
    StalledError,
    let_interrupts_through,
)
from ..kernel.queue import Event, Priority
from ..record.journal import Row
from ..record.link import TapedLink
from ..record.recording import Recording, TapingSource
from ..record.replay import describe, differences
from ..scenario.inputs import Inputs
from ..scenario.schema import Scenario
from ..simulation import Simulation
from ..source import Source
from . import state, told
from .checkpoint import copy_of
from .edits import Edit, apply, check_past
from .expressions import Names
from .inside import Inside
from .refit import Started, Trial
from .stops import Stop, Stops
from .tape import MemoryTape
from .timeline import Timeline

FIRST_SPACING = 256  # events between two checkpoints, doubled whenever there are MOST of them
MOST = 128
NEAR = 32
PIECE = 128  # events of a search, before whoever waits may do something else


class DebugSession:
    """Use as a context manager. ``reason`` says why the session rests where it does.

    ``failure`` is what ended the run at this event (a component's failure, a stall), if it did.
    """

    def __init__(
        self,
        scenario: Scenario,
        inputs: Inputs,
        source: Source,
        tape: MemoryTape | None = None,
        log: list[Row] | None = None,
        timeline: Timeline | None = None,
        edits: Sequence[Edit] = (),
        live: Source | None = None,
    ) -> None:
        self.scenario = scenario  # before any edit
        self.source = live  # of the components of a run beside this one; None: a recording has none
        self.tape = tape or MemoryTape()
        self.log = list(log or [])  # every event so far, as it happened; number N at N - 1
        self.stops = Stops()
        self.edits = list(edits)
        self.timeline = timeline
        self.started, self._edits_made = Started(live), max((edit.number for edit in edits), default=0)
        self.failure: MetronomeError | None = None
        self.interrupted = False
        self.reason = "start"
        self.hit: list[Stop] = []
        self.simulation = Simulation(scenario, inputs, source, [timeline] if timeline else [], rewindable=True)
        self.inside = Inside(self)
        self._spacing, self._aside = FIRST_SPACING, False
        self._checkpoints: dict[int, Any] = {}
        # One more a little before where it went last: from there one goes back by steps.
        self._near: dict[int, Any] = {}
        self.marks: dict[int, int] = {}  # the user's checkpoints: number -> event
        self.event: Event | None = None
        try:
            self.simulation.start()
            self._fetch()
            self._keep()
        except BaseException:
            self.simulation.__exit__()
            raise

    @classmethod
    def live(cls, scenario: Scenario, inputs: Inputs, source: Source, timeline: Timeline | None = None) -> DebugSession:
        """A run whose components answer."""
        tape = MemoryTape()
        return cls(scenario, inputs, TapingSource(source, tape), tape, timeline=timeline, live=source)

    @classmethod
    def recorded(cls, recording: Recording, timeline: Timeline | None = None) -> DebugSession:
        """A recorded run; nothing is asked of any component."""
        blocks = list(recording.journal.blocks())
        tape = MemoryTape(exchange for block in blocks for exchange in block.exchanges)
        for block in blocks:
            tape.incidents |= block.incidents
        rows = [row for block in blocks for row in block.rows]
        return cls(recording.scenario, recording.inputs, recording.source(tape), tape, rows, timeline)

    def __enter__(self) -> DebugSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.started.close()
        self.simulation.__exit__(*exc)

    # Where it is ----------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Number of the event it rests before; one more than there are at the end."""
        return self.simulation.kernel.events + (self.event is None)

    @property
    def now_ps(self) -> int:
        return self.simulation.kernel.now_ps

    @property
    def ended(self) -> bool:
        return self.event is None

    @property
    def frontier(self) -> int:
        """Events that are known to happen."""
        return len(self.log)

    def row(self, number: int) -> Row:
        """A past event, or the present one; raises InputError."""
        if not 1 <= number <= len(self.log):
            raise InputError("debugger", "event", number, f"events 1 to {len(self.log)} are known")
        return self.log[number - 1]

    def event_of(self, row: Row) -> Event:
        """A row of the log as an event without an action."""
        return Event(
            row.time_ps, row.microstep, Priority(row.priority), row.rank, 0, row.kind, row.about, row.cause, _nothing
        )

    def time_of(self, number: int) -> int:
        return self.log[number - 1].time_ps if number <= len(self.log) else self.now_ps

    # Moving ---------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let the present event act. Raises nothing: a failure ends the run here."""
        if self.event is None or self.failure:
            return
        if self.timeline:
            self.timeline.acts(self.position)
        try:
            self.event.action()
            self._fetch()
        except (DivergenceError, KeyboardInterrupt):
            raise
        except MetronomeError as failure:
            self.failure = failure
            return
        except BaseException as error:  # of a router, policy, engine or workload of the user's
            let_interrupts_through(error)
            self.failure = ExtensionFailure(error)
            return
        if self.position % self._spacing == 0 and self.position not in self._checkpoints and not self._aside:
            self._keep()

    def _fetch(self) -> None:
        """Take the next event; the same as before if it has been here before."""
        kernel = self.simulation.kernel
        event = kernel.next()
        if event is None:
            self.event = None
            self.simulation.dispatcher.check_done()
            return
        number, row = kernel.events, Row.of(event)
        if number <= len(self.log):
            if row != self.log[number - 1]:
                raise DivergenceError(number, describe(row), differences(self.log[number - 1], row))
        else:
            self.log.append(row)
        self.event = event
        self.tape.event = number
        for edit in self.edits:
            if edit.event == number:
                apply(self.simulation, edit, self.started)

    def run(self, until: Callable[[], str | None] | None = None, stops: bool = True) -> str:
        """Forward to a stop, to where ``until`` gives a reason, or to the end. Returns why it rests."""
        self.interrupted = False
        self.hit = []
        while True:
            before = self.stops.before(self) if stops else {}
            self.step()
            if self.failure:
                self.hit = [stop for stop in self.stops.all.values() if stop.on_failure(self.failure)]
                return self._rest(_failed(self.failure))
            if self.event is None:
                return self._rest("the run is complete")
            found = self.stops.hit(self, before, count=True) if stops else []
            if found:
                self.hit = [stop for stop, _ in found]
                return self._rest("; ".join(reason for _, reason in found))
            reason = until() if until else None
            if reason:
                return self._rest(reason)
            if self.interrupted:
                return self._rest("interrupted")

    def _rest(self, reason: str) -> str:
        self.reason = reason
        return reason

    def seek(self, number: int) -> None:
        """Rest before that event; raises InputError for one that never comes."""
        if number < 1:
            raise InputError("debugger", "event", number, "events are numbered from 1")
        best = max((n for n in (*self._checkpoints, *self._near) if n <= number), default=0)
        if number < self.position or best > self.position + self._spacing:
            self._restore(best)
        far = number - self.position > 4 * NEAR
        while self.position < number and self.event is not None and not self.failure:
            if far and self.position == number - NEAR:
                self._near = {self.position: copy_of(self.simulation, self.event)}
            self.step()
            if self.interrupted:
                break
        if self.position < number and not self.interrupted:
            last = self.position - (self.event is None)
            raise InputError("debugger", "event", number, f"the run ends with event {last}")

    def seek_time(self, time_ps: int) -> None:
        """Rest before the first event at or after that time."""
        known = bisect.bisect_left(self.log, time_ps, key=lambda row: row.time_ps) + 1
        if known <= len(self.log):
            self.seek(known)
            return
        self.seek(max(1, len(self.log)))
        while self.event is not None and self.now_ps < time_ps and not self.failure and not self.interrupted:
            self.step()

    def back_to(self) -> str:
        """Back to the latest position before this one at which a stop is hit, or else to the start."""
        search = self.searching_back()
        while True:
            try:
                next(search)
            except StopIteration as found:
                return str(found.value)

    def searching_back(self) -> Generator[None, None, str]:
        """`back_to` in pieces of some ten milliseconds; the session is somewhere in the past meanwhile.

        Interrupted it goes to where it was.
        """
        here = end = self.position
        self.hit, self.interrupted = [], False
        for start in sorted((n for n in self._checkpoints if n < end), reverse=True):
            self._restore(start)
            last: tuple[int, str, list[Stop]] | None = None
            before = self.stops.before(self)
            while self.position + 1 < end and self.event is not None:
                if self.position % PIECE == 0:
                    yield
                if self.interrupted:
                    self.interrupted = False
                    self.seek(here)
                    return self._rest("interrupted")
                self.step()
                found = self.stops.hit(self, before, count=False)
                before = self.stops.before(self)
                if found:
                    last = self.position, "; ".join(why for _, why in found), [stop for stop, _ in found]
            if last:
                self.seek(last[0])
                self.hit = last[2]
                return self._rest(last[1])
            # A stop at a checkpoint itself needs the event before it.
            end = start + 1
        self.seek(1)
        return self._rest("start")

    # Checkpoints ----------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._checkpoints[self.position] = copy_of(self.simulation, self.event)
        for link in self.taped_links():
            self.inside.snapshot(link)
        if len(self._checkpoints) > MOST:
            self._spacing *= 2
            self._checkpoints = {n: kept for n, kept in self._checkpoints.items() if n == 1 or n % self._spacing == 0}

    def _restore(self, number: int) -> None:
        """Go to a checkpoint, and leave it as it is."""
        kept, event = self._checkpoints.get(number) or self._near[number]
        self.simulation, self.event = copy_of(kept, event)
        self.failure = None
        self.tape.event = number

    @property
    def checkpoints(self) -> list[int]:
        return sorted(self._checkpoints)

    def mark(self) -> int:
        """A checkpoint of the user's here; returns its number."""
        if self.position not in self._checkpoints and not self.failure:
            self._checkpoints[self.position] = copy_of(self.simulation, self.event)
        number = len(self.marks) + 1
        self.marks[number] = self.position
        return number

    @contextmanager
    def aside(self, number: int) -> Iterator[Simulation]:
        """The run as it was before a past event, to be stepped on its own up to here; then all is as it was."""
        mine = self.simulation, self.event, self.failure, self.tape.event
        self._aside = True  # nothing of this is kept
        try:
            with self.tape.aside():  # nor what components are asked besides
                self._restore(max(n for n in self._checkpoints if n <= number))
                while self.position < number:
                    self.step()
                yield self.simulation
        finally:
            self._aside = False
            self.simulation, self.event, self.failure, self.tape.event = mine

    # Going another way ----------------------------------------------------------------------------

    def set(self, path: str, value: str) -> str:
        """Change a value here (`edits.py`), and go on live from here. Returns what was done to be able to.

        Raises InputError for what cannot be set, DivergenceError if a component's past cannot be rebuilt.
        """
        here, self._edits_made = self.position, self._edits_made + 1
        edit = Edit(here, path, value, self._edits_made)
        check_past(self.log[: here - 1], edit)
        with self.tape.aside():
            apply(copy_of(self.simulation, None)[0], edit, Trial(self.started))  # refuses before anything is lost
        done = self.inside.go_live()
        self.log = self.log[:here]
        self._near.clear()
        self.edits = [kept for kept in self.edits if kept.event <= here] + [edit]
        apply(self.simulation, edit, self.started)
        self._checkpoints = {n: kept for n, kept in self._checkpoints.items() if n <= here}
        if here in self._checkpoints:  # it was made as the event was taken, and lacks the edit
            self._checkpoints[here] = copy_of(self.simulation, self.event)
        return done

    def taped_links(self) -> list[TapedLink]:
        found = []
        for spec in self.simulation.specs:
            found += [link for link in self.simulation.ports.links(spec.name) if isinstance(link, TapedLink)]
        return found

    # What stops look at ---------------------------------------------------------------------------

    @property
    def names(self) -> Names:
        return self.inside.name

    @property
    def components(self) -> frozenset[str]:
        return self.inside.who()

    @property
    def kinds(self) -> frozenset[str]:
        return self.inside.kinds()

    def root(self) -> dict[str, Any]:
        """The state as a tree (`state.py`)."""
        return state.tree(self.simulation, self.inside.component_state, partial(told.of, self.simulation, self.tape))

    def value(self, path: str) -> Any:
        """The state at a path; raises InputError."""
        return state.resolve(self.root(), path)

    def request_state(self, request: int) -> str | None:
        found = state.find(self.simulation, request)
        return found[1].state if found else None

    def preemptions(self) -> int:
        return sum(replica.engine.counts.preemptions for replica in self.simulation.replicas)

    def tied(self) -> bool:
        pending = self.simulation.kernel.queue.head
        return self.event is not None and pending is not None and pending[:3] == self.event[:3]


def _nothing() -> None: ...


def _failed(failure: MetronomeError) -> str:
    return f"{'stalled' if isinstance(failure, StalledError) else 'failed'}: {failure}"

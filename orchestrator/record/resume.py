"""Going on with a recorded run that was cut short: its answers from the recording, then from its components.

Events are checked against the recording as far as it goes, and written on to it beyond. What a component with a clock
was told is told it again when it is first needed, and every answer must be the recorded one; one without a clock has
nothing to remember.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metronome.hwmodels.interface import Feature, TimePolicy

from ..coupling.components import ComponentSpec
from ..coupling.link import Link
from ..errors import DivergenceError, InputError, NoEffectWarning
from ..kernel.queue import Event
from ..scenario.loading import digest
from ..scenario.schema import Scenario
from ..source import Source
from .exchange import Exchange, operations_of, templates_of
from .journal import Journal, JournalWriter
from .link import Live, TapedLink
from .recording import Recording
from .replay import ReplayTape


class ResumeTape:
    """A recording's answers and events, then whatever comes after them onto it. ``check`` goes with the run."""

    interrupted = False  # how it ended is cut off

    def __init__(self, journal: Journal) -> None:
        """Raises InputError for a run that is complete."""
        if journal.ending is not None and journal.ending["status"] == "complete":
            raise InputError(str(journal.path), "--resume", None, "its run is complete: there is nothing to go on with")
        self.journal = journal
        journal.cut_ending()
        self.incidents: dict[str, dict[str, Any]] = {}
        for block in journal.blocks():
            for component in block.incidents:
                why = f"another model has answered in the place of {component}: the run cannot go on as it was"
                raise InputError(str(journal.path), "--resume", None, why)
        self._known = ReplayTape(journal)
        self.writer = JournalWriter.onto(journal)

    @property
    def event(self) -> int:
        replaying = self._known.event < self.journal.events
        return self._known.event if replaying else self.writer.event

    @event.setter
    def event(self, number: int) -> None:
        raise AttributeError("the run says which event it is at")

    def get(self, session: str, index: int) -> Exchange | None:
        return self._known.get(session, index)

    def add(self, exchange: Exchange) -> None:
        self.writer.add(exchange)

    def mark(self, component: str, incident: dict[str, Any]) -> None:
        self.writer.mark(component, incident)

    def check(self, event: Event) -> None:
        """An event is about to act. Raises DivergenceError for another than the recorded one."""
        if self._known.event < self.journal.events:
            self._known.check(event)
        else:
            self.writer.see(event)

    def history(self, session: str) -> Iterator[Exchange]:
        """All that the recording has of a session."""
        for block in self.journal.blocks():
            yield from (exchange for exchange in block.exchanges if exchange.session == session)


class ResumedSource:
    """Components of ``source``, each brought to where the recording ends when it is first asked beyond it."""

    def __init__(self, source: Source, tape: ResumeTape) -> None:
        self._source, self._tape = source, tape

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        """What the scenario says without effect was told as it was recorded, with every default written out."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoEffectWarning)
            return self._source.specify(scenario, folder)

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        with self._source.open(specs) as links:
            for spec in specs:
                self._check(spec, links[spec.name])
            yield {spec.name: self._taped(spec, links[spec.name]) for spec in specs}

    def _check(self, spec: ComponentSpec, link: Link) -> None:
        recorded = self._tape.journal.header["components"].get(spec.name, {})
        said = recorded.get("description", {})
        found = {"name": link.description.name, "version": link.description.version}
        if found != {name: said.get(name) for name in found} or link.remote != recorded.get("remote"):
            was = f"{said.get('name')} {said.get('version')}"
            why = f"was {was} when this was recorded: the run cannot go on with another"
            raise InputError(f"component {spec.name}", "model", " ".join(found.values()), why)

    def _taped(self, spec: ComponentSpec, link: Link) -> TapedLink:
        live = ResumedLive(lambda: link, spec, self._tape, 0)
        return TapedLink(spec.name, link.description, link.remote, self._tape, live, image=link.image)


class ResumedLive(Live):
    """The component behind a session, told the session's past before it is asked anything new."""

    def __init__(self, open_link: Callable[[], Link], spec: ComponentSpec, tape: ResumeTape, number: int) -> None:
        super().__init__(lambda: told(open_link(), spec, f"{spec.name}#{number}", tape))
        self._spec, self._tape, self._sessions = spec, tape, 1

    def another(self) -> Live:
        self._sessions += 1
        return ResumedLive(lambda: self.link.again(), self._spec, self._tape, self._sessions - 1)


def told(link: Link, spec: ComponentSpec, session: str, tape: ResumeTape) -> Link:
    """The link, its component in the state that the recording leaves it in. Raises DivergenceError."""
    forgets = link.description.time_policy in (TimePolicy.ORACLE, TimePolicy.BATCH)
    counts = spec.options.surrogate or Feature.TRAFFIC in link.description.features  # what stands before it counts
    for exchange in tape.history(session):
        if exchange.verb == "declare":
            found = link.declare(templates_of(exchange))
            if found != exchange.answer:
                raise _otherwise(exchange, found)
        elif exchange.verb == "advance" and (not forgets or counts):
            answer = link.advance(*operations_of(exchange))
            if answer != exchange.answer:
                raise _otherwise(exchange, answer)
    return link


def _otherwise(exchange: Exchange, answer: object) -> DivergenceError:
    what = f"{exchange.session} answers otherwise than when this was recorded, so the run cannot go on"
    return DivergenceError(exchange.event, what, {"answer": (exchange.answer, answer)})


def to_go_on(recording: Recording, given: Scenario | None) -> Scenario:
    """What is run: the recorded scenario; where and how its components run, as ``given`` says, if it is.

    A recording holds neither tokens nor what containers are given by their environment. Raises InputError.
    """
    if given is None:
        return recording.scenario
    if digest(given) != digest(recording.scenario):
        raise InputError(given.name, "--resume", str(recording.folder), "is a recording of another scenario")
    return recording.scenario.model_copy(update={"components": given.components})

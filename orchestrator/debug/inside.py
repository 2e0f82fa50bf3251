"""Looking into events and components of a session, now and in the past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from metronome.hwmodels.interface import MAX_PS, Feature, Operation, TimePolicy

from ..coupling.executor import InFlight
from ..coupling.link import Link
from ..coupling.program import ChainedCollectives, InterleavedBlock, SharedOperation, Stretch
from ..errors import InputError
from ..kernel.queue import Event
from ..record.exchange import templates_of
from ..record.link import TapedLink
from ..simulation import Simulation
from . import state
from .tape import MemoryTape, give
from .told import STATELESS

FIELDS = ("event", "time", "time_ps", "microstep", "priority", "rank", "kind", "about", "cause", "source")


class Resting(Protocol):
    """What is looked into: a session that rests before an event."""

    simulation: Simulation
    tape: MemoryTape
    event: Event | None

    @property
    def position(self) -> int: ...

    def value(self, path: str) -> Any: ...

    def taped_links(self) -> list[TapedLink]: ...


class Inside:
    """What the present event is about, and what state a component is in."""

    def __init__(self, session: Resting) -> None:
        self._session = session
        self._shadows: dict[str, tuple[Link, int]] = {}  # sessions rebuilt in the past, and how far

    # The present event ----------------------------------------------------------------------------

    def name(self, name: str) -> Any:
        """A field of the present event, or the state at a path; None for what is not there (yet)."""
        if "/" in name:
            try:
                return self._session.value(name)
            except InputError:
                return None
        event = self._session.event
        if name not in FIELDS:
            raise InputError(
                "debugger", "name", name, f"one of {', '.join(FIELDS)}, or a path such as engines/a/kv/free"
            )
        if event is None:
            return None
        match name:
            case "event":
                return self._session.position
            case "time":
                return event.time_ps
            case "source":
                return state.source(self._session.simulation, event)
            case "priority":
                return event.priority.name.lower()
        return getattr(event, name)

    def step(self) -> InFlight | None:
        """The step the present event ends a part of, if it does."""
        subject = self._session.event.subject if self._session.event else None
        return subject if isinstance(subject, InFlight) else None

    def parts(self) -> list[tuple[str, str, str]]:
        """(component, kind, layer) of every operation that the present event ends."""
        step = self.step()
        return self.parts_of(step) if step else []

    def parts_of(self, step: InFlight) -> list[tuple[str, str, str]]:
        """What a step in flight is at: (component, kind, layer)."""
        segment = step.segment
        if isinstance(segment, Stretch | InterleavedBlock):
            return [
                (part.port.name, work.template.kind, work.template.layer)
                for parts in segment.taken(step.ways)
                for part in parts
                for work in part.operations.works
            ]
        if isinstance(segment, SharedOperation):
            return [(port.link.name, work.template.kind, work.template.layer) for port, work in segment.works]
        if isinstance(segment, ChainedCollectives):
            inner = [
                (part.port.name, work.template.kind, work.template.layer)
                for gap in segment.gaps
                for part in gap
                for work in part.operations.works
            ]
            train, name = segment.work.template, segment.port.link.name
            cars = [(name, *self.template(name, int(of))) for of in str(train.attributes["of"]).split(",")]
            return [(name, "train", train.layer), *cars, *inner]
        return []

    def template(self, name: str, number: int) -> tuple[str, str]:
        """Kind and layer of a component's template."""
        declared = self._session.tape.sessions[self.link(name).session][0].asked
        return next((kind, layer) for each, kind, layer, _ in declared if each == number)

    def who(self) -> frozenset[str]:
        event = self._session.event
        if event is None:
            return frozenset()
        found = {component for component, _, _ in self.parts()}
        return frozenset(found | {state.source(self._session.simulation, event)})

    def kinds(self) -> frozenset[str]:
        event = self._session.event
        return frozenset({kind for _, kind, _ in self.parts()} | ({event.kind} if event else set()))

    # Components -----------------------------------------------------------------------------------

    def component_state(self, name: str) -> Any:
        """What a component shows of itself here; raises InputError where it shows nothing."""
        link = self.link(name)
        if Feature.INSPECT not in link.description.features:
            if link.description.time_policy is TimePolicy.ORACLE:
                return STATELESS
            raise InputError("debugger", f"components/{name}/state", None, "its model has no feature inspect")
        if not self._root(name).live.there:
            raise InputError("debugger", f"components/{name}/state", None, "a recording has no components to ask")
        return self._at(link).inspect()

    def state_is(self, name: str) -> str:
        """How the state of a component here is come by, for people."""
        link = self.link(name)
        if Feature.INSPECT not in link.description.features:
            oracle = link.description.time_policy is TimePolicy.ORACLE
            return STATELESS if oracle else "not available: no feature inspect"
        if not self._root(name).live.there:
            return "not available: a recording has no components"
        if self._at_frontier(link):
            return "live"
        return "by snapshot" if self._snapshot_before(link) else "by feeding it its messages again"

    def alone(self, name: str, given: Sequence[Any]) -> int | None:
        """What an operation would take alone, ps; None where the component remembers, or cannot be asked."""
        link = self.link(name)
        if not link.description.memoryless or not (root := self._root(name)).live.opened:
            return None
        fresh = root.live.link.again()
        fresh.declare(templates_of(self._session.tape.sessions[link.session][0]))
        answer = fresh.advance(MAX_PS, [Operation(*given)], True)
        return answer.completions[0].finish_ps - answer.completions[0].start_ps

    def _snapshot_before(self, link: TapedLink) -> bool:
        taken = self._session.tape.snapshots.get(link.session, {})
        return any(position <= link.position for position in taken)

    def link(self, name: str) -> TapedLink:
        found = self._session.simulation.ports.links(name)
        link = found[0]
        if not isinstance(link, TapedLink):
            raise AssertionError("a session's links are all taped")
        return link

    def _at_frontier(self, link: TapedLink) -> bool:
        return link.position == len(self._session.tape.sessions.get(link.session, ()))

    def _at(self, link: TapedLink) -> Link:
        """A link to the component in the state of this moment."""
        if self._at_frontier(link) and link.live.opened:
            return link.live.opened
        shadow, position = self._shadows.get(link.session, (None, 0))
        if shadow is None or position > link.position:
            shadow, _ = self._session.tape.rebuild(self._root(link.name).live.link, link.session, link.position)
        else:
            for exchange in self._session.tape.sessions[link.session][position : link.position]:
                if exchange.verb == "advance":
                    give(shadow, exchange)
        self._shadows[link.session] = shadow, link.position
        return shadow

    def _root(self, name: str) -> TapedLink:
        """The first session: what is behind it makes further sessions."""
        link = self._session.simulation.ports.root(name)
        if not isinstance(link, TapedLink):
            raise AssertionError("a session's links are all taped")
        return link

    def snapshot(self, link: TapedLink) -> None:
        """Keep a component's snapshot of this moment, if it takes any and is at this moment."""
        if Feature.SNAPSHOT in link.description.features and link.live.opened and self._at_frontier(link):
            taken = self._session.tape.snapshots.setdefault(link.session, {})
            if link.position > 1 and link.position not in taken:
                taken[link.position] = link.live.opened.snapshot()

    def go_live(self, fresh: bool = False) -> str:
        """Bring every component to this moment, and forget what came after it. Returns what that took.

        ``fresh``: none of them has been told anything yet.
        """
        said = []
        brought: list[tuple[TapedLink, Link]] = []  # replaced only when all could be rebuilt
        for link in self._session.taped_links():
            if self._at_frontier(link) and not fresh:
                continue
            if not self._root(link.name).live.there:
                raise InputError(
                    "debugger", "set", None, "a recording has no components to go on with; debug the scenario"
                )
            how = "its snapshot" if self._snapshot_before(link) else "its own messages"
            rebuilt, given = self._session.tape.rebuild(self._root(link.name).live.link, link.session, link.position)
            brought.append((link, rebuilt))
            said.append(f"{link.session} rebuilt from {how} ({given} given again, all answered as before)")
        for link, rebuilt in brought:
            link.live.replace(rebuilt)
        positions = {link.session: link.position for link in self._session.taped_links()}
        self._session.tape.cut(positions, self._session.position)
        self._shadows.clear()
        return "; ".join(said) or "components are at this event"

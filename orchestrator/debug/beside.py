"""A run beside the session's: the same scenario but for a change, from its beginning, with components of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..coupling.components import ComponentSpec
from ..coupling.link import Link
from ..errors import ExtensionFailure, InputError, MetronomeError, let_interrupts_through
from ..record.journal import Row
from ..record.link import TapedLink
from ..scenario.loading import override, validate
from ..scenario.schema import Scenario
from ..simulation import Simulation
from ..source import Source
from .session import DebugSession

#: Parts of a scenario that say which requests there are: with others, no request of this run is in the other.
WHOLE = ("name", "seed", "workload")


@dataclass(frozen=True, slots=True)
class Change:
    """What is otherwise: requests left out, values of the scenario by path (``cluster.networks.1.bandwidth_gb_s``)."""

    without: tuple[int, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        said = [f"without request {', '.join(map(str, self.without))}"] if self.without else []
        return " and ".join(said + [f"with {path} = {value}" for path, value in self.values.items()])


def changed(session: DebugSession, change: Change) -> Scenario:
    """The session's scenario with the change's values. Raises InputError for what is none of its fields, or would be
    another workload."""
    for path, value in change.values.items():
        part = path.partition(".")[0]
        if part in WHOLE:
            allowed = f"is another workload: its requests are not those of this run; not {', '.join(WHOLE)}"
            raise InputError("debugger", path, value, allowed)
    if not change.values:
        return session.simulation.scenario
    content = session.simulation.scenario.model_dump(mode="json", exclude_unset=True)
    override(content, change.values)
    return validate(content, "debugger")


def simulation(session: DebugSession, change: Change) -> Simulation:
    """The other run, not yet started. Raises InputError, also where there are no components to ask."""
    if session.source is None:
        allowed = "a recording has no components to ask; debug the scenario"
        raise InputError("debugger", "another run", str(change) or None, allowed)
    if edits := [f"{edit.path} from event {edit.event}" for edit in session.edits if edit.event <= session.position]:
        allowed = f"this run is edited ({', '.join(edits)}); another would go as its scenario says"
        raise InputError("debugger", "another run", str(change) or None, allowed)
    source = _Beside(session, session.source)
    inputs = session.simulation.inputs
    return Simulation(changed(session, change), inputs, source, without=change.without)


def play(session: DebugSession, there: Simulation, request: int) -> int | None:
    """The other run up to the end of that request; returns the event at which it parts from the session's.

    Raises InputError where the other run does not serve it, ComponentFailure and the like where that fails.
    """
    parts: int | None = None
    kernel, log = there.kernel, session.log
    try:
        there.start()
        while (event := kernel.next()) is not None:
            if parts is None and kernel.events <= len(log) and Row.of(event) != log[kernel.events - 1]:
                parts = kernel.events
            event.action()
            if any(done.request.id == request for done in there.recorder.done[-8:]):
                return parts
            if session.interrupted:
                session.interrupted = False
                raise KeyboardInterrupt
    except MetronomeError:
        raise
    except BaseException as error:  # of a router, policy or engine of the user's
        let_interrupts_through(error)
        raise ExtensionFailure(error) from error
    failed = next((f for f in there.recorder.failed if f.state.request.id == request), None)
    why_not = f"is not served in the other run: {failed.error}" if failed else "is never sent in the other run"
    raise InputError("debugger", "request", request, why_not)


class _Beside:
    """Components as the session's: of each that is configured as there, another session; the others are started."""

    def __init__(self, session: DebugSession, source: Source) -> None:
        self._session, self._source = session, source

    def specify(self, scenario: Scenario, folder: Path) -> list[ComponentSpec]:
        return self._source.specify(scenario, folder)

    @contextmanager
    def open(self, specs: Sequence[ComponentSpec]) -> Iterator[dict[str, Link]]:
        here = {spec.name: spec for spec in self._session.simulation.specs}
        anew = {_place(spec) for spec in specs if here.get(spec.name) != spec}
        with ExitStack() as stack:
            links = stack.enter_context(self._source.open([spec for spec in specs if _place(spec) in anew]))
            for spec in specs:
                if _place(spec) not in anew:
                    root = self._session.simulation.ports.root(spec.name)
                    if not isinstance(root, TapedLink):
                        raise AssertionError("a session's links are all taped")
                    links[spec.name] = root.live.link.again()
                    stack.callback(links[spec.name].close)
            yield links


def _place(spec: ComponentSpec) -> str:
    """Components of a node may do their traffic on one another: they are started together."""
    return spec.name.partition(".")[0]

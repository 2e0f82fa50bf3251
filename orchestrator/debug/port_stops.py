"""Stops at what passes inside islands: after an event that asked one for an operation which asks at a port."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..coupling.components import asked_by_one
from ..errors import InputError
from .moves import Moves
from .ported import Ported
from .session import DebugSession
from .stops import Break, Moment, Stop

NAMED = 3  # operations


@dataclass(slots=True, kw_only=True)
class PortBreak(Stop):
    """``asked``: of an event, what was asked of islands by it that asks this component for this kind, as words."""

    component: str
    kind: str | None
    asked: Callable[[int], str]

    def describe(self) -> str:
        return f"break {self.component}" + (f":{self.kind}" if self.kind else "")

    def reason(self, moment: Moment, before: Any) -> str | None:
        present = moment.names("event")
        found = self.asked(present - 1) if present else ""
        return f"breakpoint {self.number}: event {present - 1} asked for {found}" if found else None


def stop_at(session: DebugSession, moves: Moves, number: Callable[[], int], name: str) -> Stop:
    """``COMPONENT[:KIND]`` or ``:KIND``. Raises InputError for what is not there, and what would never stop."""
    component, _, kind = name.partition(":")
    moves.check_source(component, kind)
    ported = Ported(session)
    wired = {wire["to"] for wire in session.simulation.scenario.wires}
    asker = asked_by_one(session.simulation.specs).get(component)
    if asker and component not in wired:
        allowed = f"has no events: {asker} asks it within its own operations; stop at {asker}"
        raise InputError("debugger", "break", name, allowed)
    if component not in wired:
        return Break(number=number(), component=component or None, kind=kind or None)
    kinds = ported.asked_for().get(component)
    if kinds is None:
        allowed = "is asked inside an island that is not played here (a recording, or hosted as a whole)"
        raise InputError("debugger", "break", name, allowed)
    if kind and kind not in kinds:
        raise InputError("debugger", "break", name, f"{component} is asked at ports for {', '.join(sorted(kinds))}")

    def asked(event: int) -> str:
        return _asked(ported, event, component, kind)

    return PortBreak(number=number(), component=component, kind=kind or None, asked=asked)


def _asked(ported: Ported, event: int, component: str, kind: str) -> str:
    found = []
    for one in ported.asked_by(event):
        passed = ported.play(one).passed
        those = [f"{p.kind} at {p.asker}.{p.port}" for p in passed if p.target == component and kind in ("", p.kind)]
        if those:
            counts = ", ".join(f"{count} {what}" for what, count in Counter(those).items())
            found.append(f"{ported.named(one)} ({counts})")
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more

"""What a session stops at: breakpoints (before an event), watchpoints and catchpoints (after one).

They are looked at between events and only look, so they never change a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import ComponentFailure, InputError, MetronomeError
from ..units import PS_PER_MS
from .expressions import Condition, Names

CATCHES = ("fault", "late", "timeout", "dead", "preemption", "tie")


class Moment(Protocol):
    """The run at rest, before its present event, as stops see it."""

    @property
    def names(self) -> Names: ...

    @property
    def components(self) -> frozenset[str]:
        """Components, instances and the dispatcher that have a part in the present event."""
        ...

    @property
    def kinds(self) -> frozenset[str]:
        """Kind of the present event, and of the operations it ends."""
        ...

    def value(self, path: str) -> Any: ...

    def request_state(self, request: int) -> str | None:
        """None for one that has not arrived yet."""
        ...

    def preemptions(self) -> int: ...

    def tied(self) -> bool:
        """Whether the event after the present one has the same time, microstep and priority."""
        ...


@dataclass(slots=True, kw_only=True)
class Stop:
    """``ignore`` more hits are let pass; ``commands`` are run by the front at a hit."""

    number: int
    condition: Condition | None = None
    temporary: bool = False
    enabled: bool = True
    ignore: int = 0
    hits: int = 0
    commands: list[str] = field(default_factory=list)

    def describe(self) -> str:
        raise NotImplementedError

    def before(self, moment: Moment) -> Any:
        """What it has to remember of a moment to know at the next whether to stop."""
        return None

    def reason(self, moment: Moment, before: Any) -> str | None:
        """Why the run stops at this moment, if it does (condition left aside)."""
        raise NotImplementedError

    def on_failure(self, failure: MetronomeError) -> bool:
        """Whether it names that failure as what it waits for."""
        return False


@dataclass(slots=True, kw_only=True)
class Break(Stop):
    """Before an event of a component, instance or ``dispatcher``, a kind, a number; at a time; beyond a microstep."""

    component: str | None = None
    kind: str | None = None
    time_ps: int | None = None
    microstep: int | None = None
    event: int | None = None

    def describe(self) -> str:
        parts = []
        if self.component or self.kind:
            parts.append(f"{self.component or '*'}" + (f":{self.kind}" if self.kind else ""))
        if self.time_ps is not None:
            parts.append(f"time {self.time_ps / PS_PER_MS:.6f} ms")
        if self.microstep is not None:
            parts.append(f"microstep > {self.microstep}")
        if self.event is not None:
            parts.append(f"event {self.event}")
        return "break " + " ".join(parts)

    def before(self, moment: Moment) -> Any:
        return moment.value("now_ps") if self.time_ps is not None else None

    def reason(self, moment: Moment, before: Any) -> str | None:
        if self.component and self.component not in moment.components:
            return None
        if self.kind and self.kind not in moment.kinds:
            return None
        if self.time_ps is not None and not (
            moment.value("now_ps") >= self.time_ps and (before is None or before < self.time_ps)
        ):
            return None
        if self.event is not None and moment.names("event") != self.event:
            return None
        if self.microstep is not None and moment.value("microstep") <= self.microstep:
            return None
        return f"breakpoint {self.number}"


@dataclass(slots=True, kw_only=True)
class RequestBreak(Stop):
    """Before a request's arrival, and whenever its state has changed."""

    request: int

    def describe(self) -> str:
        return f"break request {self.request}"

    def before(self, moment: Moment) -> Any:
        return moment.request_state(self.request)

    def reason(self, moment: Moment, before: Any) -> str | None:
        if moment.names("kind") == "arrival" and moment.names("about") == self.request:
            return f"breakpoint {self.number}: request {self.request} arrives"
        now = moment.request_state(self.request)
        if before is not _UNSEEN and now != before:
            by = moment.names("event") - 1
            return f"breakpoint {self.number}: request {self.request} is {now} (was {before}) by event {by}"
        return None


@dataclass(slots=True, kw_only=True)
class Watch(Stop):
    """When the value at a path has changed, or begins to fulfil the condition."""

    path: str

    def describe(self) -> str:
        return f"watch {self.condition.text if self.condition else self.path}"

    def before(self, moment: Moment) -> Any:
        value = _value(moment, self.path)
        return (value, self.condition.holds(moment.names)) if self.condition else (value, True)

    def reason(self, moment: Moment, before: Any) -> str | None:
        if before is _UNSEEN:
            return None
        value = _value(moment, self.path)
        if self.condition and before[1]:
            return None  # it held already
        if value == before[0] and not self.condition:
            return None
        return f"watchpoint {self.number}: {self.path} {before[0]} -> {value} by event {moment.names('event') - 1}"


@dataclass(slots=True, kw_only=True)
class Catch(Stop):
    """``preemption`` and ``tie`` in the run; the others name failures, which always stop."""

    what: str

    def __post_init__(self) -> None:
        if self.what not in CATCHES:
            raise InputError("debugger", "catch", self.what, f"one of {', '.join(CATCHES)}")

    def describe(self) -> str:
        return f"catch {self.what}"

    def before(self, moment: Moment) -> Any:
        return moment.preemptions() if self.what == "preemption" else None

    def reason(self, moment: Moment, before: Any) -> str | None:
        if self.what == "preemption" and before is not _UNSEEN and moment.preemptions() > before:
            return f"catchpoint {self.number}: a request was preempted by event {moment.names('event') - 1}"
        if self.what == "tie" and moment.tied():
            return f"catchpoint {self.number}: the next event is of the same instant; their order is by configuration"
        return None

    def on_failure(self, failure: MetronomeError) -> bool:
        return isinstance(failure, ComponentFailure) and self.what in ("fault", failure.code)


_UNSEEN = object()


class Stops:
    """All stops of a session, by number."""

    def __init__(self) -> None:
        self.all: dict[int, Stop] = {}
        self._last = 0

    def number(self) -> int:
        self._last += 1
        return self._last

    def add(self, stop: Stop) -> Stop:
        self.all[stop.number] = stop
        return stop

    def get(self, number: int) -> Stop:
        """Raises InputError."""
        if number not in self.all:
            known = ", ".join(map(str, self.all)) or "none"
            raise InputError("debugger", "stop", number, f"there is no stop of that number; there are {known}")
        return self.all[number]

    def before(self, moment: Moment) -> dict[int, Any]:
        """What every stop remembers of this moment."""
        return {number: stop.before(moment) for number, stop in self.all.items() if stop.enabled}

    def hit(self, moment: Moment, before: dict[int, Any], count: bool) -> list[tuple[Stop, str]]:
        """Who stops here and why; with ``count`` hits are counted, ignored ones let pass, temporary ones deleted."""
        found = []
        for number, stop in list(self.all.items()):
            if not stop.enabled:
                continue
            reason = stop.reason(moment, before.get(number, _UNSEEN if _remembers(stop) else None))
            if reason is None or (stop.condition and not stop.condition.holds(moment.names)):
                continue
            if count:
                stop.hits += 1
                if stop.ignore:
                    stop.ignore -= 1
                    continue
                if stop.temporary:
                    del self.all[number]
            found.append((stop, reason))
        return found


def _remembers(stop: Stop) -> bool:
    return not isinstance(stop, Break)


def _value(moment: Moment, path: str) -> Any:
    try:
        return moment.value(path)
    except InputError:
        return None  # not there yet, or not any more

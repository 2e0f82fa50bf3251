"""What the fronts do with a session beyond its own verbs: `next`, `finish`, `until`, `attach`, ..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metronome.hwmodels.interface import OPERATION_VALUES

from ..errors import InputError
from . import looks
from .expressions import number
from .session import DebugSession

PATIENCE_S = 10**6  # of a component under another debugger
EVENT_KINDS = (
    *("arrival", "received", "wake", "inputs", "schedule", "compute", "stage"),
    *("failure", "repair", "loading", "up", "retry", "resume", "scale", "report"),
)


class Moves:
    """Each returns why the session rests, for people."""

    def __init__(self, session: DebugSession) -> None:
        self._session = session

    def mode(self) -> str:
        """``live`` (components answer), ``past`` (answers from the tape), ``recording`` (there are none)."""
        session = self._session
        if session.position < session.frontier:
            return "past"
        return "live" if any(link.live.opened for link in session.taped_links()) else "recording"

    def run(self) -> str:
        if self._session.position != 1:
            self._session.seek(1)
        return self._session.run()

    def step(self, times: int) -> str:
        left = times

        def enough() -> str | None:
            nonlocal left
            left -= 1
            return " " if left <= 0 else None

        return self._session.run(enough, stops=times > 1).strip()

    def next(self, times: int = 1) -> str:
        for _ in range(times):
            before = self._session.now_ps
            reason = self._session.run(lambda before=before: " " if self._session.now_ps > before else None)  # type: ignore[misc]
            if reason.strip():
                return reason
        return ""

    def to_message(self) -> str:
        """On until the event before has sent a message; empty, or why the run rests without."""
        session = self._session
        return session.run(lambda: " " if session.tape.of_event(session.position - 1) else None).strip()

    def finish(self, words: Sequence[str]) -> str:
        session = self._session
        event = session.event
        match list(words):
            case ["request", which]:
                return self._finish_request(number(which))
            case [component, op]:
                names = [spec.name for spec in session.simulation.specs]
                if component not in names:
                    raise InputError("debugger", "component", component, f"one of {', '.join(names)}")
                rank = names.index(component)
                wanted = number(op)
                for row in session.log[: session.position - 1]:
                    if (row.priority, row.rank, row.about) == (0, rank, wanted):
                        return f"operation {wanted} of {component} was done before"
                return session.run(lambda: self._ends(rank, wanted, component))
            case []:
                pass
            case _:
                raise InputError("debugger", "finish", " ".join(words), "request ID, COMPONENT OP, or nothing")
        if event is None:
            return "the run is complete"
        if event.kind == "arrival":
            return self._finish_request(event.about)
        source = self._instance_of(session.position)
        return session.run(
            lambda: (
                f"a step of {source} is done"
                if self._name("kind") == "schedule" and self._name("source") == source
                else None
            )
        )

    def _instance_of(self, number: int) -> str:
        """The instance whose step an event is about: its own source, or that of what caused it."""
        session = self._session
        components = {spec.name for spec in session.simulation.specs}
        for cause in looks.chain(session, number):
            source = looks.source_of(session, session.row(cause))
            if source not in components:
                break
        return source

    def _name(self, name: str) -> Any:
        return self._session.names(name)

    def _ends(self, rank: int, op: int, component: str) -> str | None:
        event = self._session.event
        if event and event.priority == 0 and event.rank == rank and event.about == op:
            return f"operation {op} of {component} is done"
        return None

    def _finish_request(self, request: int) -> str:
        done = self._session.simulation.recorder

        def ended() -> str | None:
            return f"request {request} is done" if any(s.request.id == request for s in done.done[-16:]) else None

        if any(s.request.id == request for s in done.done):
            return f"request {request} was done before"
        return self._session.run(ended)

    def until(self, text: str) -> str:
        session = self._session
        if text.isdigit():
            target = int(text)
            return session.run(lambda: " " if session.position >= target else None).strip()
        time_ps = number(text)
        return session.run(lambda: " " if session.now_ps >= time_ps else None).strip()

    def back(self, times: int) -> str:
        session = self._session
        if session.position - times < 1:
            session.seek(1)
            return "start"
        session.seek(session.position - times)
        return ""

    def back_in_time(self, times: int = 1) -> str:
        session = self._session
        for _ in range(times):
            place = session.position - 1
            while place >= 1 and session.time_of(place) >= session.now_ps:
                place -= 1
            if place < 1:
                session.seek(1)
                return "start"
            while place > 1 and session.time_of(place - 1) == session.time_of(place):
                place -= 1
            session.seek(place)
        return ""

    def seek(self, text: str) -> str:
        session = self._session
        session.interrupted = False
        if text.isdigit():
            session.seek(int(text))
        else:
            session.seek_time(number(text))
        return ""

    def restart(self, which: int) -> str:
        marks = self._session.marks
        if which not in marks:
            raise InputError("debugger", "checkpoint", which, f"one of {', '.join(map(str, marks)) or '(none yet)'}")
        self._session.seek(marks[which])
        return ""

    # Checks -----------------------------------------------------------------------------------------

    def check_source(self, component: str, kind: str) -> None:
        """Raises InputError for a component or kind the scenario does not have."""
        simulation = self._session.simulation
        names = [spec.name for spec in simulation.specs]
        instances = [unit.name for unit in simulation.units]
        if component and component not in (*names, *instances, "dispatcher"):
            raise InputError(
                "debugger", "component", component, f"one of {', '.join([*names, *instances, 'dispatcher'])}"
            )
        if kind and kind not in (*EVENT_KINDS, *OPERATION_VALUES):
            raise InputError("debugger", "kind", kind, f"one of {', '.join([*EVENT_KINDS, *OPERATION_VALUES])}")

    def check_path(self, path: str) -> None:
        """Raises InputError for a path that can never be; a request may still have to arrive."""
        parts = path.split("/")
        if parts[0] == "requests" and len(parts) > 1 and parts[1].isdigit():
            return
        self._session.value(path)

    def state_is(self, component: str) -> str:
        return self._session.inside.state_is(component)

    # Looking ----------------------------------------------------------------------------------------

    def info(self, what: str) -> list[str]:
        session = self._session
        if what == "messages":
            recent = [m for m in session.tape.log if m.event < session.position][-8:]
            return [f"after event {m.event}: {looks.message(session, m)}" for m in recent] or ["no message yet"]
        if what == "checkpoints":
            own = [f"{number}: event {event}" for number, event in session.marks.items()]
            return [*own, f"and {len(session.checkpoints)} of the debugger's own, at events {session.checkpoints[:12]}"]
        if what == "edits":
            return [f"from event {e.event}: {e.path} = {e.value}" for e in session.edits] or ["the run is not edited"]
        found = []
        for stop in session.stops.all.values():
            condition = (
                f" if {stop.condition.text}" if stop.condition and not stop.describe().startswith("watch") else ""
            )
            off = "" if stop.enabled else ", disabled"
            found.append(f"{stop.number}: {stop.describe()}{condition} ({stop.hits} hits{off})")
        return found or ["no stops"]

    def _host(self, component: str) -> Any:
        names = [spec.name for spec in self._session.simulation.specs]
        if component not in names:
            raise InputError("debugger", "component", component, f"one of {', '.join(names)}")
        link = self._session.simulation.ports.root(component)
        opened = getattr(getattr(link, "live", None), "opened", None)
        return opened if getattr(opened, "host", None) else None

    def attach(self, component: str) -> list[str]:
        """Stretch its timeout, and say how to debug its process."""
        link = self._host(component)
        if link is None:
            return [
                f"{component} has no process of its own here: set components.{component}.run to process, or debug "
                "this one: python -m pdb -m metronome debug ..."
            ]
        link.be_patient(PATIENCE_S)
        pid = link.host.pid
        return [
            f"{component} is process {pid}; it may now take as long as it likes. In another terminal:",
            f"  gdb -p {pid}",
            f"  python -m debugpy --listen 127.0.0.1:5678 --pid {pid}",
            f"  py-spy dump --pid {pid}",
        ]

    def logs(self, component: str) -> list[str]:
        link = self._host(component)
        if link is None:
            return [f"{component} has no process of its own here; what it prints is on this terminal"]
        return link.host.last_words().splitlines() or ["it has printed nothing"]

    @staticmethod
    def read(path: str) -> list[str]:
        """The lines of a script; raises InputError."""
        try:
            return Path(path).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(path, "script", None, f"cannot be read: {error}") from None

"""What a DAP client is shown: threads, stack frames, the event log as source text, scopes and variables."""

from __future__ import annotations

from typing import Any

from ..errors import InputError, MetronomeError
from . import looks, state
from .session import DebugSession

FRAMES = 1000  # causes given to a client that does not say how many it wants
EVENTS = {"name": "events", "sourceReference": 1}


def variable(name: str, value: Any, reference: int) -> dict[str, Any]:
    below = state.names(value)
    text = f"{len(below)} entries" if below or isinstance(value, dict | list | state.Lazy) else str(value)
    return {"name": name, "value": text, "variablesReference": reference}


class Views:
    """Part of `Adapter`: answers to requests that only look."""

    session: DebugSession

    def __init__(self) -> None:
        self._handles: list[str | int] = []  # what a variables reference stands for: a path, or an event

    def forget(self) -> None:
        """References are of one stop."""
        self._handles.clear()

    def _sources(self) -> list[str]:
        simulation = self.session.simulation
        units = [unit.name for unit in simulation.units]
        return ["dispatcher", *units, *(spec.name for spec in simulation.specs)]

    def thread(self) -> int:
        if self.session.event is None:
            return 1
        return 1 + self._sources().index(state.source(self.session.simulation, self.session.event))

    def _on_threads(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"threads": [{"id": i, "name": name} for i, name in enumerate(self._sources(), 1)]}

    def _on_stackTrace(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Of the present event's source its causes; of another that of its last event."""
        session = self.session
        number = min(session.position, session.frontier)
        if arguments["threadId"] != self.thread():
            name = self._sources()[arguments["threadId"] - 1]
            while number and looks.source_of(session, session.row(number)) != name:
                number -= 1
        causes = looks.chain(session, number)
        first = arguments.get("startFrame") or 0
        frames = [
            {"id": n, "name": " ".join(looks.line(session, n).split()[1:]), "line": n, "column": 1, "source": EVENTS}
            for n in causes[first : first + (arguments.get("levels") or FRAMES)]
        ]
        return {"stackFrames": frames, "totalFrames": len(causes)}

    def _on_source(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = self.session
        return {
            "content": "\n".join(looks.line(session, n) for n in range(1, session.frontier + 1)),
            "mimeType": "text/plain",
        }

    def _on_scopes(self, arguments: dict[str, Any]) -> dict[str, Any]:
        event = int(arguments["frameId"])
        source = looks.source_of(self.session, self.session.row(event))
        scopes = [("Event", self.handle_of(event), False), ("State", self.handle_of(""), True)]
        if source in [spec.name for spec in self.session.simulation.specs]:
            scopes.insert(1, (source, self.handle_of(f"components/{source}"), True))
        return {"scopes": [{"name": n, "variablesReference": r, "expensive": slow} for n, r, slow in scopes]}

    def handle_of(self, what: str | int) -> int:
        self._handles.append(what)
        return len(self._handles)

    def child(self, reference: int, name: str) -> str:
        if not 1 <= reference <= len(self._handles):
            raise InputError("debugger", "variablesReference", reference, "is of a stop before")
        return f"{self._handles[reference - 1]}/{name}".strip("/")

    def _on_variables(self, arguments: dict[str, Any]) -> dict[str, Any]:
        reference = int(arguments["variablesReference"])
        self.child(reference, "")
        what = self._handles[reference - 1]
        if isinstance(what, int):
            fields = self.session.row(what)._asdict()
            return {"variables": [variable(name, value, 0) for name, value in fields.items()]}
        node = self._node(what)
        found = []
        for name in state.names(node)[: int(arguments.get("count") or 1000)]:
            inner = self._node(f"{what}/{name}".strip("/"))
            deeper = self.handle_of(f"{what}/{name}".strip("/")) if state.names(inner) else 0
            found.append(variable(name, inner, deeper))
        return {"variables": found}

    def _node(self, path: str) -> Any:
        if not path:
            return self.session.root()
        try:
            return self.session.value(path)
        except MetronomeError as error:  # of a component that shows nothing
            return f"({error})"

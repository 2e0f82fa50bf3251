"""The Debug Adapter Protocol front: a `DebugSession` for VS Code or any other client.

Threads are components, instances and the dispatcher; stack frames the chain of causes; variables the state
tree; the event log is a source text whose line N is event N, so that editor breakpoints are breakpoints
on events. `evaluate` takes the console's commands.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ..errors import InputError, MetronomeError
from . import state
from .beside import Change
from .console import Console
from .counterfactual import counterfactual
from .counterfactual_looks import as_json, split_as_json
from .dap_views import Views, variable
from .dap_wire import Wire
from .expressions import number, parse
from .moves import Moves
from .port_stops import PortBreak, stop_at
from .session import DebugSession
from .stops import CATCHES, Break, Catch, Stop, Watch
from .why import why

Make = Callable[[str | None], DebugSession]  # the scenario of the launch request, or none
MOVES = {
    "continue": lambda a: a.session.run(a.paused),
    "next": lambda a: a.moves.next(),
    "stepIn": lambda a: a.moves.step(1),
    "stepOut": lambda a: a.moves.finish([]),
    "stepBack": lambda a: a.moves.back(1),
    "reverseContinue": lambda a: a.session.back_to(),
}
CAPABILITIES = {
    "supportsConfigurationDoneRequest": True,
    "supportsFunctionBreakpoints": True,
    "supportsConditionalBreakpoints": True,
    "supportsHitConditionalBreakpoints": True,
    "supportsEvaluateForHovers": True,
    "supportsStepBack": True,
    "supportsSetVariable": True,
    "supportsDataBreakpoints": True,
    "supportsCompletionsRequest": True,
    "supportsTerminateRequest": True,
    "supportsExceptionInfoRequest": True,
    "supportsDelayedStackTraceLoading": True,
    "exceptionBreakpointFilters": [
        {"filter": what, "label": what, "default": what in ("fault", "late", "timeout")} for what in CATCHES
    ],
}


class Adapter(Views):
    """One client's session, from `initialize` to `disconnect`."""

    moves: Moves

    def __init__(self, wire: Wire, make: Make) -> None:
        self._wire, self._make = wire, make
        self._inbox: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._launched = False
        self._entry = True
        self._pausing = False  # a request to pause has come since the run was last told to go on
        Views.__init__(self)
        self._stops: dict[str, list[int]] = {}  # kind of request -> numbers of stops it has set

    def serve(self) -> None:
        """Until the client disconnects."""
        threading.Thread(target=self._read, daemon=True, name="dap reader").start()
        try:
            while (request := self._inbox.get()) is not None:
                if not self._handle(request):
                    break
        finally:
            if self._launched:
                self.session.__exit__()

    def _read(self) -> None:
        """Pausing must work while the run goes on, so it is noticed here."""
        while (message := self._wire.read()) is not None:
            if message.get("command") in ("pause", "disconnect", "terminate") and self._launched:
                self._pausing = self.session.interrupted = True
            self._inbox.put(message)
            if message.get("command") == "disconnect":
                return  # and leave nobody reading: the interpreter could not end
        self._inbox.put(None)

    def _handle(self, request: dict[str, Any]) -> bool:
        command = str(request.get("command", ""))
        arguments = request.get("arguments") or {}
        if not isinstance(arguments, dict):
            arguments = {}
        if command in ("disconnect", "terminate"):
            self._wire.answer(request)
            if command == "terminate":
                self._wire.event("terminated")
            return command == "terminate"
        try:
            if command in MOVES:
                self._move(request, command)
                return True
            method = getattr(self, f"_on_{command}", None)
            if method is None:
                raise InputError("debugger", "request", command, "is not supported")
            if not self._launched and command not in ("initialize", "launch", "attach"):
                raise InputError("debugger", "request", command, "comes before launch")
            self._wire.answer(request, method(arguments))
        except MetronomeError as error:
            self._wire.answer(request, error=str(error))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            self._wire.answer(request, error=f"{command}: arguments are missing or wrong: {error}")
        else:
            self._after(command)
        return True

    def _after(self, command: str) -> None:
        if command in ("launch", "attach"):
            self._wire.event("initialized")
        elif command == "configurationDone":
            if not self._entry:
                self.session.run(self.paused)
            self._stopped("entry" if self._entry else "")

    def _move(self, request: dict[str, Any], command: str) -> None:
        if not self._launched:
            raise InputError("debugger", "request", command, "comes before launch")
        at_end = self.session.ended and command in ("continue", "next", "stepIn", "stepOut")
        self._pausing = False  # before the answer: a client may ask to pause as soon as it has it
        self._wire.answer(request, {"allThreadsContinued": True} if command == "continue" else None)
        if at_end:
            self._wire.event("terminated")
            return
        reason = MOVES[command](self)
        self._stopped("step" if not reason else "")

    def paused(self) -> str | None:
        """Why a run rests, where it was asked to before it had begun; what comes later interrupts the session."""
        return "interrupted" if self._pausing else None

    def _stopped(self, reason: str) -> None:
        """Tell the client that the run rests, and why."""
        session = self.session
        self.forget()
        text = session.reason if reason != "entry" else "before the first event"
        kinds: list[tuple[type[Stop], str]] = [
            (Watch, "data breakpoint"),
            (Catch, "exception"),
            (Break, "breakpoint"),
            (PortBreak, "breakpoint"),
        ]
        hit = next((name for kind, name in kinds for stop in session.hit if isinstance(stop, kind)), "")
        shown = reason or ("exception" if session.failure else hit) or "pause"
        body: dict[str, Any] = {"reason": shown, "description": text, "allThreadsStopped": True}
        body["threadId"] = self.thread()
        if session.failure:
            body["text"] = str(session.failure)
        numbers = [n for stop in session.hit for n in [stop.number]]
        if numbers and not reason:
            body["hitBreakpointIds"] = numbers
        self._wire.event("stopped", body)

    # Set-up -----------------------------------------------------------------------------------------

    def _on_initialize(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return CAPABILITIES

    def _on_launch(self, arguments: dict[str, Any]) -> None:
        if self._launched:
            raise InputError("debugger", "launch", None, "there is a session already")
        self.session = self._make(arguments.get("program"))
        self.moves = Moves(self.session)
        self._entry = bool(arguments.get("stopOnEntry", True))
        self._launched = True

    _on_attach = _on_launch

    def _on_configurationDone(self, arguments: dict[str, Any]) -> None: ...

    def _on_pause(self, arguments: dict[str, Any]) -> None: ...

    def _replace(self, which: str, asked: list[Any], make: Callable[[int, Any], Stop]) -> dict[str, Any]:
        """Stops of one kind are always set all at once; what cannot be set says why."""
        stops = self.session.stops
        for old in self._stops.get(which, []):
            stops.all.pop(old, None)
        told: list[dict[str, Any]] = []
        for entry in asked:
            try:
                stop = stops.add(self._conditioned(make(stops.number(), entry), entry))
                told.append({"id": stop.number, "verified": True})
            except InputError as error:
                told.append({"verified": False, "message": str(error)})
        self._stops[which] = [entry["id"] for entry in told if entry["verified"]]
        return {"breakpoints": told}

    def _conditioned(self, stop: Stop, asked: Any) -> Stop:
        """With the client's conditions. Raises InputError."""
        if isinstance(asked, dict) and asked.get("condition"):
            stop.condition = parse(asked["condition"])
            stop.condition.holds(self.session.names)
        if isinstance(asked, dict) and asked.get("hitCondition"):
            stop.ignore = max(0, number(asked["hitCondition"].strip()) - 1)
        return stop

    def _on_setBreakpoints(self, arguments: dict[str, Any]) -> dict[str, Any]:
        def make(number: int, entry: dict[str, Any]) -> Stop:
            return Break(number=number, event=int(entry["line"]))

        return self._replace("lines", arguments.get("breakpoints") or [], make)

    def _on_setFunctionBreakpoints(self, arguments: dict[str, Any]) -> dict[str, Any]:
        def make(number: int, entry: dict[str, Any]) -> Stop:
            return stop_at(self.session, self.moves, lambda: number, entry["name"])

        return self._replace("functions", arguments["breakpoints"], make)

    def _on_setExceptionBreakpoints(self, arguments: dict[str, Any]) -> dict[str, Any]:
        def make(number: int, what: str) -> Stop:
            return Catch(number=number, what=what)

        return self._replace("exceptions", arguments["filters"], make)

    def _on_dataBreakpointInfo(self, arguments: dict[str, Any]) -> dict[str, Any]:
        reference, path = arguments.get("variablesReference"), str(arguments["name"])
        if reference:
            path = self.child(reference, path)
        try:
            self.moves.check_path(path)
        except InputError as error:
            return {"dataId": None, "description": str(error)}
        return {"dataId": path, "description": f"/{path}", "accessTypes": ["write"]}

    def _on_setDataBreakpoints(self, arguments: dict[str, Any]) -> dict[str, Any]:
        def make(number: int, entry: dict[str, Any]) -> Stop:
            self.moves.check_path(entry["dataId"])
            return Watch(number=number, path=entry["dataId"])

        return self._replace("data", arguments["breakpoints"], make)

    def _on_setVariable(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.session.set(self.child(int(arguments["variablesReference"]), arguments["name"]), arguments["value"])
        return {"value": arguments["value"]}

    def _on_exceptionInfo(self, arguments: dict[str, Any]) -> dict[str, Any]:
        failure = self.session.failure
        return {
            "exceptionId": type(failure).__name__ if failure else "none",
            "breakMode": "always",
            "description": str(failure or ""),
        }

    def _on_evaluate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        expression = arguments["expression"].strip()
        if arguments.get("context") in ("hover", "watch", "variables"):
            node = self.session.value(expression.strip("/"))
            deeper = self.handle_of(expression.strip("/")) if state.names(node) else 0
            return {"result": variable("", node, deeper)["value"], "variablesReference": deeper}
        out = io.StringIO()
        console = Console(self.session, stdin=io.StringIO(), stdout=out)
        before = self.session.position, self.session.simulation
        console.onecmd(expression)
        if before != (self.session.position, self.session.simulation):
            self._stopped("goto")
        return {"result": out.getvalue().rstrip("\n"), "variablesReference": 0}

    def _on_why(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Ours, not the protocol's: `why` of a ``request`` as JSON, also ``without`` others, or ``with`` values."""
        request = int(arguments["request"])
        without, values = arguments.get("without") or [], arguments.get("with") or {}
        if not without and not values:
            return split_as_json(why(self.session, request))
        change = Change(tuple(map(int, without)), dict(values))
        return as_json(counterfactual(self.session, request, change))

    def _on_completions(self, arguments: dict[str, Any]) -> dict[str, Any]:
        text = arguments["text"][: int(arguments["column"]) - 1]
        console = Console(self.session, stdin=io.StringIO(), stdout=io.StringIO())
        word = text.rpartition(" ")[2]
        found = console.completedefault(word, text, 0, len(text)) if " " in text else console.completenames(word)
        return {"targets": [{"label": name} for name in found[:100]]}


def serve_stdio(make: Make) -> None:
    """One client on standard input and output. What else is printed goes to standard error."""
    wire = Wire(sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout = sys.stderr
    Adapter(wire, make).serve()


def serve_tcp(make: Make, port: int, say: Callable[[str], None]) -> None:
    """One client on a loopback port; 0 chooses a free one. ``say`` is told which. Raises InputError."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError("debug", "--dap", port, f"cannot be listened on: {error.strerror}") from None
        server.listen(1)
        say(f"listening for a debug client on 127.0.0.1:{server.getsockname()[1]}")
        connection, _ = server.accept()
    with connection, connection.makefile("rb") as reader, connection.makefile("wb") as writer:
        Adapter(Wire(reader, writer), make).serve()

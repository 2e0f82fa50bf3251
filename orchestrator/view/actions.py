"""What a click does: moves of a session, its stops, another future."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

from ..debug.console import Console
from ..debug.expressions import number
from ..errors import InputError
from . import pictures
from .viewer import Shown, Viewer

STOPS = ("break", "tbreak", "watch", "catch")
Move = Callable[[Viewer, Shown, str], str | None]  # why it rests; None: it runs


def _continue(viewer: Viewer, shown: Shown, arg: str) -> None:
    viewer.run(shown)


def _to_end(viewer: Viewer, shown: Shown, arg: str) -> None:
    viewer.run(shown, stops=False)


def _seek(viewer: Viewer, shown: Shown, arg: str) -> str | None:
    """To what is known at once; to what is not by running there."""
    session, target = shown.session, number(arg)
    by_event = arg.isdigit()
    last = session.frontier if by_event else session.time_of(session.frontier)
    if target <= last or session.ended or session.failure:
        return shown.moves.seek(arg)
    viewer.run(shown, stops=False, until=lambda: "there" if _reached(shown, by_event, target) else None)
    return None


def _reached(shown: Shown, by_event: bool, target: int) -> bool:
    return (shown.session.position if by_event else shown.session.now_ps) >= target


MOVES: dict[str, Move] = {
    "continue": _continue,
    "end": _to_end,
    "seek": _seek,
    "start": lambda viewer, shown, arg: shown.moves.seek("1"),
    "step": lambda viewer, shown, arg: shown.moves.step(number(arg or "1")),
    "next": lambda viewer, shown, arg: shown.moves.next(),
    "finish": lambda viewer, shown, arg: shown.moves.finish(arg.split()),
    "back": lambda viewer, shown, arg: shown.moves.back(number(arg or "1")),
    "back-in-time": lambda viewer, shown, arg: shown.moves.back_in_time(),
    "reverse-continue": lambda viewer, shown, arg: viewer.search_back(shown),
    "restart": lambda viewer, shown, arg: shown.moves.restart(number(arg)),
}


def move(viewer: Viewer, asked: dict[str, Any]) -> dict[str, Any]:
    """``verb`` with ``arg``. Raises InputError."""
    shown, verb = _shown(viewer, asked), _text(asked, "verb")
    if verb not in MOVES:
        raise InputError("view", "verb", verb, f"one of {', '.join(MOVES)}")
    viewer.rest(shown)
    shown.session.interrupted = False
    shown.session.hit = []
    reason = MOVES[verb](viewer, shown, _text(asked, "arg", ""))
    if reason is not None:
        shown.reason = reason
        viewer.tell()
    return pictures.here(viewer, shown)


def stop(viewer: Viewer, asked: dict[str, Any]) -> dict[str, Any]:
    """A stop in the console's words: ``break uplink-1:send``, ``watch engines/a/kv/free < 10``. Raises InputError."""
    shown, text = _shown(viewer, asked), _text(asked, "text")
    verb, _, rest = text.strip().partition(" ")
    if verb not in STOPS:
        raise InputError("view", "stop", text, f"begins with {', '.join(STOPS)}")
    console = Console(shown.session, stdin=StringIO(), stdout=StringIO())
    getattr(console, f"do_{verb}")(rest.strip())
    viewer.tell()
    return pictures.here(viewer, shown)


def change_stop(viewer: Viewer, asked: dict[str, Any]) -> dict[str, Any]:
    """``what`` happens to stop ``number``: enable, disable or delete. Raises InputError."""
    shown, what = _shown(viewer, asked), _text(asked, "what")
    found = shown.session.stops.get(_number(asked, "number"))
    match what:
        case "enable" | "disable":
            found.enabled = what == "enable"
        case "delete":
            del shown.session.stops.all[found.number]
        case _:
            raise InputError("view", "what", what, "one of enable, disable, delete")
    viewer.tell()
    return pictures.here(viewer, shown)


def fork(viewer: Viewer, asked: dict[str, Any]) -> dict[str, Any]:
    """Another future: ``path`` with ``value`` from the ``start`` on or from ``here``; its number. Raises InputError."""
    shown, path, value = _shown(viewer, asked), _text(asked, "path"), _text(asked, "value")
    viewer.rest(shown)
    session, since = shown.session, _text(asked, "since", "here")
    if since == "start":
        made = viewer.add(f"{path} = {value}", lambda t: viewer.opener.again(session, path, value, t))
        return {"session": made, "did": "the scenario is run again from its start"}
    made = viewer.add(f"{path} = {value} from event {session.position}", lambda t: viewer.opener.fork(session, t))
    try:
        did = viewer.get(made).session.set(path.strip("/"), value)
    except BaseException:
        viewer.close(made)
        raise
    return {"session": made, "did": did}


def close(viewer: Viewer, asked: dict[str, Any]) -> dict[str, Any]:
    viewer.close(_number(asked, "s"))
    return {}


ACTIONS: dict[str, Callable[[Viewer, dict[str, Any]], dict[str, Any]]] = {
    "move": move,
    "stop": stop,
    "change-stop": change_stop,
    "fork": fork,
    "close": close,
}


def _shown(viewer: Viewer, asked: dict[str, Any]) -> Shown:
    return viewer.get(_number(asked, "s"))


def _text(asked: dict[str, Any], name: str, default: str | None = None) -> str:
    value = asked.get(name, default)
    if not isinstance(value, str):
        raise InputError("view", name, value, "must be a text")
    return value


def _number(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if type(value) is not int:
        raise InputError("view", name, value, "must be a whole number")
    return value

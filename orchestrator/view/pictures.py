"""What the page draws, JSON-ready. Every answer is read off the session; looking changes nothing.

Absolute times are texts of picoseconds: a browser's numbers hold no more than 2.5 hours of them exactly.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..debug import looks, state
from ..debug.session import DebugSession
from ..debug.stops import Watch
from ..errors import InputError, MetronomeError
from ..report.html.cluster import draw
from .viewer import Shown, Viewer

LONGEST_CHAIN = 60  # causes drawn, of which
ROOTS = 4  # are the first ones
NEAR = 12  # events before and after
NODES = 500  # below a node of the state


def here(viewer: Viewer, shown: Shown) -> dict[str, Any]:
    """Where a session rests, why, and what it would stop at."""
    session = shown.session
    sessions = [{"number": n, "title": other.title} for n, other in viewer.shown.items()]
    return {
        "version": viewer.version,
        "title": shown.title,
        "scenario": session.simulation.scenario.name,
        "sessions": sessions,
        "position": session.position,
        "frontier": session.frontier,
        "now_ps": str(session.now_ps),
        "end_ps": str(_end_ps(session)),
        "mode": "end" if session.ended else shown.moves.mode(),
        "reason": shown.reason,
        "failure": str(session.failure or ""),
        "text": looks.here(session),
        "event": _event(session, session.position) if session.event else None,
        "instances": [unit.name for unit in session.simulation.units],
        "components": [spec.name for spec in session.simulation.specs],
        "stops": _stops(session),
        "edits": [{"event": e.event, "path": e.path, "value": e.value} for e in session.edits],
        "running": viewer.running is not None and viewer.running.shown is shown,
    }


def _end_ps(session: DebugSession) -> int:
    return max(session.now_ps, session.log[-1].time_ps if session.log else 0)


def _stops(session: DebugSession) -> list[dict[str, Any]]:
    found = []
    for stop in session.stops.all.values():
        text = stop.describe()
        if stop.condition and not isinstance(stop, Watch):
            text += f" if {stop.condition.text}"
        hit = stop in session.hit
        found.append({"number": stop.number, "text": text, "hits": stop.hits, "enabled": stop.enabled, "hit": hit})
    return found


def _event(session: DebugSession, number: int) -> dict[str, Any]:
    row = session.row(number)
    return {
        "number": number,
        "time_ps": str(row.time_ps),
        "source": looks.source_of(session, row),
        "kind": row.kind,
        "about": row.about,
        "cause": row.cause,
    }


def timeline(shown: Shown, from_ps: int, span_ps: int, width: int) -> dict[str, Any]:
    """Slices of every track in a window of time (`Timeline.window`), and the words of their labels."""
    session, line = shown.session, shown.timeline
    wanted = [("instance", unit.name) for unit in session.simulation.units]
    wanted += [("component", spec.name) for spec in session.simulation.specs]
    tracks: list[dict[str, Any]] = []
    used: set[int] = set()
    for group, name in [*wanted, ("requests", "")]:
        rows = line.window(group, name, from_ps, span_ps, width)
        tracks.append({"group": group, "name": name, "rows": rows})
        used.update(label for row in rows for label in row["label"])
    return {
        "from_ps": str(from_ps),
        "span_ps": str(span_ps),
        "tracks": tracks,
        "labels": {str(number): line.labels[number] for number in sorted(used)},
        "end_ps": str(_end_ps(session)),
    }


def events(shown: Shown, around: int | None) -> dict[str, Any]:
    """The log of events around one, by default the present one."""
    session = shown.session
    middle = min(session.position, session.frontier) if around is None else around
    session.row(middle)
    numbers = range(max(1, middle - NEAR), min(session.frontier, middle + NEAR) + 1)
    return {"events": [_event(session, number) for number in numbers], "position": session.position}


def chain(shown: Shown, number: int | None) -> dict[str, Any]:
    """An event, by default the present one, and what caused it; of a long chain the middle is left out."""
    session = shown.session
    causes = looks.chain(session, min(session.position, session.frontier) if number is None else number)
    left_out = max(0, len(causes) - LONGEST_CHAIN)
    if left_out:
        causes[LONGEST_CHAIN - ROOTS : -ROOTS] = []
    return {"chain": [_event(session, one) for one in causes], "left_out": left_out, "roots": ROOTS}


def engines(shown: Shown) -> dict[str, Any]:
    """Queues and KV blocks of every engine at the moment, request by request in the order it looks at them."""
    found = []
    for replica in shown.session.simulation.replicas:
        view = replica.engine.view()
        mine = {one.request.id: replica.engine.look(one) for one in replica.engine.requests()}
        order = [*view.running, *view.handed, *view.waiting]
        requests = [
            {
                "id": one.id,
                "state": one.state,
                "computed": one.num_computed_tokens,
                "produced": one.num_output_tokens,
                "blocks": one.blocks,
                "waits_for": one.waits_for,
            }
            for one in [*(mine[n] for n in order if n in mine), *(m for n, m in mine.items() if n not in set(order))]
        ]
        kv = {"size": view.kv.size, "free": view.kv.free, "used": view.kv.used, "cached": view.kv.cached}
        found.append(
            {
                "name": replica.name,
                "role": str(replica.role),
                "arriving": [one.request.id for one in replica.coming],
                "requests": requests,
                "blocked": view.blocked if view.waiting else "",
                "kv": kv,
                "preemptions": view.counts.preemptions,
            }
        )
    return {"engines": found}


def cluster(shown: Shown) -> dict[str, Any]:
    """The cluster as the report draws it, and what each part of it does at the moment."""
    session, line = shown.session, shown.timeline
    simulation, here_ = session.simulation, (session.position, session.now_ps)
    components = []
    for spec in simulation.specs:
        doing = line.at("component", spec.name, *here_)
        components.append(
            {
                "name": spec.name,
                "kind": spec.kind,
                "model": spec.model,
                "run": spec.options.run,
                "doing": [{"what": label, "step": about} for label, about, _, _ in doing],
                "open": len(simulation.ports.open_operations(spec.name)),
            }
        )
    instances = []
    for unit, loop in zip(simulation.units, simulation.loops, strict=True):
        steps = line.at("instance", unit.name, *here_)
        kv = [replica.kv_use for replica in loop.members]
        loads = [replica.load for replica in loop.members]
        instances.append(
            {
                "name": unit.name,
                "steps": [about for _, about, _, _ in steps],
                "waiting": sum(waiting for waiting, _ in loads),
                "running": sum(running for _, running in loads),
                "kv_use": sum(kv) / len(kv),
            }
        )
    drawn = asdict(draw(simulation.scenario.model_dump(mode="json", exclude_none=True)))
    return {"picture": drawn, "components": components, "instances": instances}


def messages(shown: Shown, component: str, count: int) -> dict[str, Any]:
    """The latest messages with a component so far, the newest first. Raises InputError."""
    session = shown.session
    names = [spec.name for spec in session.simulation.specs]
    if component not in names:
        raise InputError("view", "component", component, f"one of {', '.join(names)}")
    found = []
    for exchange in reversed(session.tape.log):
        if exchange.event < session.position and exchange.session.partition("#")[0] == component:
            asked, _, answer = looks.message(session, exchange).partition("\n    -> ")
            found.append({"event": exchange.event, "asked": asked, "answer": answer})
            if len(found) == count:
                break
    said = f"{component}: {session.inside.state_is(component)}"
    return {"component": component, "messages": found, "state": said}


def tree(shown: Shown, path: str) -> dict[str, Any]:
    """What is below a path of the state: names, and values where there is nothing further below. Raises InputError."""
    session, path = shown.session, path.strip("/")
    root = state.tree(session.simulation, session.inside.component_state)
    node = state.resolve(root, path)
    found = []
    for name in (below := state.names(node))[:NODES]:
        if isinstance(node, state.Lazy):
            found.append({"name": name, "below": True, "value": ""})
            continue
        try:
            inner = state.resolve(node, name)
        except MetronomeError as error:  # of a component that shows nothing of itself
            found.append({"name": name, "below": False, "value": f"not available: {error}"})
            continue
        deeper = isinstance(inner, state.Lazy) or bool(state.names(inner))
        short = isinstance(inner, list) and len(inner) <= 12 and not any(isinstance(i, dict | list) for i in inner)
        value = ", ".join(map(str, inner)) if short else "" if deeper else str(inner)
        found.append({"name": name, "below": deeper and not short, "value": value})
    value = "" if below or isinstance(node, dict | list | state.Lazy) else str(node)
    return {"path": path, "nodes": found, "value": value, "left_out": max(0, len(below) - NODES)}


def settable(shown: Shown) -> dict[str, Any]:
    """What a fork here may change, with its present values."""
    simulation = shown.session.simulation
    found = [{"path": "router/policy", "value": str(simulation.scenario.router.policy)}]
    for replica in simulation.replicas:
        config = replica.engine.view().config
        found += [{"path": f"engines/{replica.name}/config/{name}", "value": str(v)} for name, v in config.items()]
    return {"settable": found}

"""The state of a run as a tree of names: what `print`, `ls`, `watch` and a DAP client's variables show.

Looking never changes anything. A node is a dictionary of nodes (made when it is looked into), or a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

from ..errors import InputError
from ..kernel.queue import Event, Priority
from ..serving.interface import RequestView
from ..serving.replica import Replica
from ..serving.request_state import RequestState
from ..simulation import Simulation

Node = Mapping[str, "Callable[[], Any] | Any"]
Component = Callable[[str], Any]  # name -> its state


@dataclass(frozen=True, slots=True)
class Lazy:
    """A dictionary too large to be made for a look at one of its values."""

    names: Callable[[], Iterable[object]]
    get: Callable[[str], Any]


def tree(simulation: Simulation, component: Component, told: Component | None = None) -> dict[str, Any]:
    """The root. A callable stands for what is below it. ``told``: nodes of what else is known of a component."""
    kernel = simulation.kernel
    names = [spec.name for spec in simulation.specs]
    return {
        "now_ps": kernel.now_ps,
        "event": kernel.events,
        "microstep": kernel.microstep,
        "queue": lambda: queue(simulation),
        "dispatcher": lambda: _dispatcher(simulation),
        "router": lambda: _router(simulation),
        "engines": {r.name: (lambda r=r: engine(r)) for r in simulation.replicas},
        "requests": Lazy(lambda: request_ids(simulation), lambda name: request(simulation, name)),
        "components": {
            name: (lambda name=name: _component(simulation, name, component) | (told(name) if told else {}))
            for name in names
        },
        **({"instances": lambda: _instances(simulation)} if simulation.availability.fleet else {}),
        **({"pools": lambda: _pools(simulation)} if simulation.pools else {}),
        **({"handoff": lambda: _handoff(simulation)} if simulation.connector else {}),
    }


def resolve(root: Any, path: str) -> Any:
    """The node at a path (``engines/a/kv/free``); raises InputError naming what there is instead."""
    node, walked = _open(root), ""
    for name in path.split("/"):
        if not name:
            continue
        if isinstance(node, Lazy):
            node = _open(node.get(name))
        elif isinstance(node, list) and name.lstrip("-").isdigit() and -len(node) <= int(name) < len(node):
            node = _open(node[int(name)])
        elif isinstance(node, dict) and name in node:
            node = _open(node[name])
        else:
            raise InputError("state", "path", path, f"no '{name}' in /{walked.rstrip('/')}; {_choices(node)}")
        walked += name + "/"
    return node


def _open(node: Any) -> Any:
    return node() if callable(node) else node


def names(node: Any) -> list[str]:
    """What is below a node; empty for a value."""
    if isinstance(node, Lazy):
        return [str(name) for name in node.names()]
    if isinstance(node, dict):
        return list(node)
    return [str(i) for i in range(len(node))] if isinstance(node, list) else []


def _choices(node: Any) -> str:
    if isinstance(node, dict):
        names = list(node)
        return "there is " + ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") if names else "it is empty"
    return f"a list of {len(node)}" if isinstance(node, list) else "it is a value"


def flat(node: Any) -> Any:
    """The whole of a node, JSON-ready."""
    node = _open(node)
    if isinstance(node, Lazy):
        return {str(name): flat(node.get(str(name))) for name in node.names()}
    if isinstance(node, dict):
        return {name: flat(below) for name, below in node.items()}
    if isinstance(node, list | tuple):
        return [flat(below) for below in node]
    return node


def digest(simulation: Simulation) -> str:
    """A fingerprint of everything but the components: equal digests go on equally, given equal answers."""
    pools = [replica.engine.internals() for replica in simulation.replicas]
    pools += [pool.internals() for pool in simulation.pools.values()]
    rows = [event[:8] for event in simulation.kernel.queue.pending()]
    done = [(s.request.id, s.end_ps, s.token_steps) for s in simulation.recorder.done]
    logs = [
        [list(getattr(log, name)) for name in ("end_ps", "delivered_ps", "output_tokens")]
        for log in simulation.recorder.logs
    ]
    spent = [[of, list(map(list, entries.columns))] for of, entries in sorted(simulation.ports.spent.of.items())]
    state = flat(tree(simulation, lambda name: None))
    data = json.dumps([state, pools, rows, done, logs, spent], sort_keys=True, default=str)
    return blake2b(data.encode(), digest_size=16).hexdigest()


def source(simulation: Simulation, event: Event) -> str:
    """Whose event it is: a component's, an instance's, or the dispatcher's."""
    specs = simulation.specs
    if event.priority is Priority.ARRIVAL:
        return "dispatcher"
    rank = event.rank
    if event.priority is Priority.COMPLETION:
        if rank < len(specs):
            return specs[rank].name
        rank -= len(specs)
    return next(unit.name for unit in simulation.units if unit.rank == rank)


def queue(simulation: Simulation) -> list[dict[str, Any]]:
    """Events to come, in order."""
    return [
        {
            "time_ps": e.time_ps,
            "microstep": e.microstep,
            "source": source(simulation, e),
            "kind": e.kind,
            "about": e.about,
            "cause": e.cause,
        }
        for e in simulation.kernel.queue.pending()
    ]


def engine(of: Replica) -> dict[str, Any]:
    """A replica: its engine's view, and the API servers before it."""
    view = of.engine.view()
    waiting, running = of.load
    return {
        "role": str(of.role),
        "waiting": waiting,
        "running": running,
        "prefilling": list(view.prefilling),
        "handed": sorted(view.handed),
        "waiting_requests": [*view.waiting, *(state.request.id for state in of.coming)],
        "running_requests": list(view.running),
        "api_servers": {"free_ps": of.servers.free_ps, "requests": of.servers.requests},
        "kv": asdict(view.kv),
        "counts": asdict(view.counts),
        "config": dict(view.config),
        "lanes": [dict(slot) for slot in view.slots],
    }


def request_ids(simulation: Simulation) -> list[int]:
    """Of requests that have arrived, those not done first, those that are not served last."""
    alive = sorted({s.request.id for replica in simulation.replicas for s in replica.requests()})
    failed = [one.state.request.id for one in simulation.recorder.failed]
    return alive + [s.request.id for s in simulation.recorder.done] + [one for one in failed if one not in alive]


def find(simulation: Simulation, request_id: int) -> tuple[RequestState, RequestView] | None:
    """A request's newest record, and how it stands: as `RequestView.state`, ``api-server``, ``done`` or ``failed``."""
    found: tuple[RequestState, RequestView] | None = None
    for replica in simulation.replicas:
        for state in replica.requests():
            if state.request.id == request_id and (found is None or state.origin is not None):
                seen = _still(state, "api-server") if state in replica.coming else replica.engine.look(state)
                found = state, seen
    if found is None:
        for state in reversed(simulation.recorder.done):
            if state.request.id == request_id:
                return state, _still(state, "done")
    if found is None:
        for failure in simulation.recorder.failed:
            if failure.state.request.id == request_id:
                return failure.state, _still(failure.state, "failed")
    return found


def failed(simulation: Simulation, request_id: int) -> tuple[str, int]:
    """Why a request was refused or given up, and when."""
    found = next(one for one in simulation.recorder.failed if one.state.request.id == request_id)
    return found.error if found.error.startswith(found.reason) else f"{found.reason}: {found.error}", found.time_ps


def _still(state: RequestState, where: str) -> RequestView:
    """Of a request that no engine has now."""
    return RequestView(state.request.id, where, state.num_computed_tokens, state.num_output_tokens, 0)


def half(simulation: Simulation, state: RequestState) -> tuple[RequestState, bool]:
    """Where a request has got what it has so far, and whether its first token from there is the client's: while its K
    and V are on their way that is the engine that computed its prompt."""
    if state.origin is None or state.scheduled_ps >= 0:
        return state, True
    connector = simulation.connector
    return state.origin, connector is None or not connector.decode_gives_first_token


def request(simulation: Simulation, name: str) -> dict[str, Any]:
    """Raises InputError for one that has not arrived."""
    found = find(simulation, int(name)) if name.isdigit() else None
    if found is None:
        raise InputError("state", "request", name, "has not arrived yet, or there is none of that id")
    state, view = found
    timed, sent = half(simulation, state)
    times = {
        name: getattr(timed, name) if getattr(timed, name) >= 0 else None
        for name in ("received_ps", "queued_ps", "scheduled_ps", "first_token_ps", "end_ps")
    }
    asked = state.request
    return {
        "state": view.state,
        "engine": simulation.replicas[state.place].name,
        "input_tokens": asked.input_tokens,
        "output_tokens": asked.output_tokens,
        "arrival_ps": asked.arrival_ps,
        **times,
        **({} if sent else {"first_token_ps": None}),
        "computed": view.num_computed_tokens,
        "produced": max(view.num_output_tokens, timed.num_output_tokens if sent else 0),
        "blocks": view.blocks,
        "hit_tokens": state.num_cached_tokens,
        "preemptions": state.num_preemptions,
    }


def _dispatcher(simulation: Simulation) -> dict[str, Any]:
    return {"arrived": simulation.dispatcher.arrived, "outstanding": simulation.dispatcher.outstanding}


def _instances(simulation: Simulation) -> dict[str, Any]:
    """What each is doing, how many parts that it needs are broken, how long it takes to start, who gives it weights."""
    fleet = simulation.availability.fleet
    found = {}
    for member in fleet.members if fleet else ():
        peer = {"weights_from": member.peer.name} if member.peer else {}
        found[member.name] = {"state": member.state.value, "broken": member.broken, "start_ps": member.start_ps, **peer}
    return found


def _router(simulation: Simulation) -> dict[str, Any]:
    reports = simulation.availability.reports
    router = (reports or simulation.dispatcher).router
    own = {name.lstrip("_"): str(value) for name, value in vars(router).items()}
    seen = {"reported": reports.seen()} if reports else {}
    return {"policy": simulation.scenario.router.policy, "class": type(router).__name__, **own, **seen}


def _pools(simulation: Simulation) -> dict[str, Any]:
    """Of K and V off the devices, in chunks and bytes: TIER, or below whose it is, NODE/TIER or ENGINE/TIER."""
    found: dict[str, Any] = {}
    for name, pool in simulation.pools.items():
        node, counts = found, pool.counts
        for part in name.split("/"):
            node = node.setdefault(part, {})
        node |= {"chunks": pool.size, "used": pool.used, "stored": counts.allocated, "hits": counts.hits}
        node |= {"evicted": counts.freed - counts.expired, "expired": counts.expired, "refused": counts.refused}
        node |= {"bytes_in": counts.bytes_in, "bytes_out": counts.bytes_out}
    return found


def _handoff(simulation: Simulation) -> dict[str, Any]:
    connector = simulation.connector
    if connector is None:
        return {}
    return {
        "requests": connector.transfers,
        "tokens": connector.tokens,
        "open": {
            str(number): {"missing": t.missing, "sent": t.sent, "moving": t.moving, "prompt_done": t.prompt_done}
            for number, t in connector.open.items()
        },
    }


def _component(simulation: Simulation, name: str, component: Component) -> dict[str, Any]:
    ports = simulation.ports
    spec = next(spec for spec in simulation.specs if spec.name == name)
    return {
        "kind": spec.kind,
        "model": spec.model,
        "run": spec.options.run,
        "mode": ports.modes(name),
        "open": ports.open_operations(name),
        "state": lambda: component(name),
    }

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
from ..serving.engine import Engine
from ..serving.request_state import RequestState
from ..simulation import Simulation

Node = Mapping[str, "Callable[[], Any] | Any"]
Component = Callable[[str], Any]  # name -> its state


@dataclass(frozen=True, slots=True)
class Lazy:
    """A dictionary too large to be made for a look at one of its values."""

    names: Callable[[], Iterable[object]]
    get: Callable[[str], Any]


def tree(simulation: Simulation, component: Component) -> dict[str, Any]:
    """The root. A callable stands for what is below it."""
    kernel = simulation.kernel
    names = [spec.name for spec in simulation.specs]
    return {
        "now_ps": kernel.now_ps,
        "event": kernel.events,
        "microstep": kernel.microstep,
        "queue": lambda: queue(simulation),
        "frontend": lambda: {"arrived": simulation.frontend.arrived, "outstanding": simulation.frontend.outstanding},
        "router": lambda: _router(simulation),
        "engines": {e.name: (lambda e=e: engine(e)) for e in simulation.engines},
        "requests": Lazy(lambda: request_ids(simulation), lambda name: request(simulation, name)),
        "components": {name: (lambda name=name: _component(simulation, name, component)) for name in names},
        **({"handoff": lambda: _handoff(simulation)} if simulation.handoff else {}),
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
    pools = []
    for one in simulation.engines:
        pools.append(one.scheduler.pool.internals())
    rows = [event[:8] for event in simulation.kernel.queue.pending()]
    done = [(s.request.id, s.end_ps, s.token_steps) for s in simulation.recorder.done]
    logs = [
        [list(getattr(log, name)) for name in ("end_ps", "delivered_ps", "output_tokens", "energy_pj")]
        for log in simulation.recorder.logs
    ]
    state = flat(tree(simulation, lambda name: None))
    data = json.dumps([state, pools, rows, done, logs], sort_keys=True, default=str)
    return blake2b(data.encode(), digest_size=16).hexdigest()


def source(simulation: Simulation, event: Event) -> str:
    """Whose event it is: a component's, an instance's, or the frontend's."""
    specs = simulation.specs
    if event.priority is Priority.ARRIVAL:
        return "frontend"
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


def engine(of: Engine) -> dict[str, Any]:
    scheduler = of.scheduler
    pool, lanes = scheduler.pool, scheduler.lanes
    waiting, running = of.load
    return {
        "role": str(of.role),
        "waiting": waiting,
        "running": running,
        "prefilling": [i for i, s in ((s.request.id, s) for s in scheduler.running.values()) if _prefills(of, s)],
        "handed": sorted(scheduler.handed),
        "waiting_requests": [s.request.id for s in (*scheduler.waiting, *of.arrived, *of.coming)],
        "running_requests": [s.request.id for s in scheduler.running.values()],
        "api_servers": {"free_ps": of.servers.free_ps, "requests": of.servers.requests},
        "kv": {"size": pool.size, "free": pool.free, "used": pool.used, "cached": pool.cached},
        "counts": asdict(scheduler.counts),
        "config": asdict(scheduler.config),
        "lanes": [
            {"step": lane.decoders.step, "decodes": lane.decoders.count, "in_flight": lane.in_flight} for lane in lanes
        ],
    }


def _prefills(of: Engine, sequence: RequestState) -> bool:
    return sequence.order in of.scheduler.prefilling


def request_ids(simulation: Simulation) -> list[int]:
    """Of requests that have arrived, those not done first."""
    alive = [s.request.id for one in simulation.engines for s in one.sequences()]
    return sorted(set(alive)) + [s.request.id for s in simulation.recorder.done]


def find(simulation: Simulation, request_id: int) -> tuple[RequestState, str] | None:
    """A request's newest sequence and its state: waiting, moving, prefill, decode, handed or done."""
    found: tuple[RequestState, str] | None = None
    for one in simulation.engines:
        for sequence in one.sequences():
            if sequence.request.id == request_id and (found is None or sequence.origin is not None):
                found = sequence, _state(one, sequence)
    if found is None:
        for sequence in reversed(simulation.recorder.done):
            if sequence.request.id == request_id:
                return sequence, "done"
    return found


def _state(one: Engine, sequence: RequestState) -> str:
    scheduler = one.scheduler
    if sequence in one.coming:
        return "api-server"
    if sequence.order in scheduler.running and scheduler.running[sequence.order] is sequence:
        return "prefill" if _prefills(one, sequence) else "decode"
    if sequence.request.id in scheduler.handed and sequence.origin is None:
        return "handed"
    return "moving" if scheduler.inbound.has(sequence) else "waiting"


def request(simulation: Simulation, name: str) -> dict[str, Any]:
    """Raises InputError for one that has not arrived."""
    found = find(simulation, int(name)) if name.isdigit() else None
    if found is None:
        raise InputError("state", "request", name, "has not arrived yet, or there is none of that id")
    sequence, state = found
    one = simulation.engines[sequence.place]
    computed, produced = sequence.num_computed_tokens, sequence.num_output_tokens
    for lane in one.scheduler.lanes:
        if state == "decode" and sequence in lane.decoders:
            computed = lane.decoders.context(sequence)
            produced += lane.decoders.step - sequence.since
    # While its K and V are on their way, what it has got so far it has on the engine that computed its prompt.
    timed = sequence.origin if sequence.origin is not None and sequence.first_token_ps < 0 else sequence
    times = {
        name: getattr(timed, name) if getattr(timed, name) >= 0 else None
        for name in ("received_ps", "queued_ps", "scheduled_ps", "first_token_ps", "end_ps")
    }
    produced = max(produced, timed.num_output_tokens)
    asked = sequence.request
    return {
        "state": state,
        "engine": one.name,
        "input_tokens": asked.input_tokens,
        "output_tokens": asked.output_tokens,
        "arrival_ps": asked.arrival_ps,
        **times,
        "computed": computed,
        "produced": produced,
        "blocks": len(sequence.block_ids),
        "hit_tokens": sequence.num_cached_tokens,
        "preemptions": sequence.num_preemptions,
    }


def _router(simulation: Simulation) -> dict[str, Any]:
    own = {name.lstrip("_"): str(value) for name, value in vars(simulation.frontend.router).items()}
    return {"policy": simulation.scenario.router.policy, "class": type(simulation.frontend.router).__name__, **own}


def _handoff(simulation: Simulation) -> dict[str, Any]:
    handoff = simulation.handoff
    if handoff is None:
        return {}
    return {
        "requests": handoff.transfers,
        "tokens": handoff.tokens,
        "open": {
            str(number): {"missing": t.missing, "sent": t.sent, "moving": t.moving, "prompt_done": t.prompt_done}
            for number, t in handoff.open.items()
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

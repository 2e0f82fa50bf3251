"""What a session shows, as lines of text. Pure: looking changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..coupling.executor import InFlight
from ..errors import InputError
from ..record.diff import answered
from ..record.exchange import Exchange
from ..record.journal import Row
from ..units import PS_PER_MS
from . import state
from .session import DebugSession

DEPTH = 16  # causes shown, of which
ROOTS = 4  # are the first ones


def ms(time_ps: int) -> str:
    return f"{time_ps / PS_PER_MS:.6f} ms"


def source_of(session: DebugSession, row: Row) -> str:
    """Whose event it is."""
    return state.source(session.simulation, session.event_of(row))


def line(session: DebugSession, number: int) -> str:
    """One event of the log."""
    row = session.row(number)
    tag = f".{row.microstep}" if row.microstep else ""
    return f"{number:>7}  {ms(row.time_ps)}{tag}  {source_of(session, row):<16} {row.kind} {row.about}"


def here(session: DebugSession) -> str:
    if session.event is None:
        return f"end of the run at {ms(session.now_ps)}"
    row = session.row(session.position)
    by = f", caused by event {row.cause}" if row.cause else ""
    text = f"event {session.position} at {ms(row.time_ps)}: {row.kind} {row.about} of {source_of(session, row)}{by}"
    parts = Counter(f"{component}: {kind} '{layer}'" for component, kind, layer in session.inside.parts())
    shown = [f"{what} x{times}" if times > 1 else what for what, times in list(parts.items())[:3]]
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return text + (f"\n  ends {', '.join(shown)}{more}" if shown else "")


def listing(session: DebugSession, around: int, count: int = 10) -> list[str]:
    session.row(around)
    first = max(1, around - count // 2)
    last = min(session.frontier, first + count - 1)
    return [("=>" if n == session.position else "  ") + line(session, n) for n in range(first, last + 1)]


def chain(session: DebugSession, number: int) -> list[int]:
    """An event and what caused it, up to the first cause."""
    found = []
    while number:
        found.append(number)
        number = session.row(number).cause
    return found


def backtrace(session: DebugSession) -> list[str]:
    """The chain of causes of the present event, or of the last one at the end; the middle of a long one left out."""
    causes = chain(session, min(session.position, session.frontier))
    shown = [f"#{i:<4}{line(session, number).strip()}" for i, number in enumerate(causes)]
    if len(shown) > DEPTH:
        shown[DEPTH - ROOTS : -ROOTS] = [f"... {len(shown) - DEPTH} more ..."]
    return shown


def value(node: Any, indent: str = "", depth: int = 1) -> list[str]:
    """A node of the state tree; ``depth`` levels of it opened."""
    below = state.names(node)
    if not isinstance(node, dict | state.Lazy | list):
        return [f"{indent}{node}"]
    if isinstance(node, list) and not any(isinstance(item, dict | list) for item in node):
        return [f"{indent}{node if len(node) <= 40 else str(node[:40])[:-1] + f', ... {len(node)} in all]'}"]
    found = []
    for name in below[:60]:
        if isinstance(node, state.Lazy) and not depth:
            found.append(f"{indent}{name}/")
            continue
        try:
            inner = state.resolve(node, name)
        except InputError as error:  # a component that shows nothing of itself
            found.append(f"{indent}{name}: not available, {error.allowed}")
            continue
        if isinstance(inner, dict | state.Lazy | list):
            if depth > 1 and not isinstance(inner, state.Lazy):
                found += [f"{indent}{name}/", *value(inner, indent + "  ", depth - 1)]
            elif isinstance(inner, list):
                found.append(f"{indent}{name} = {inner if len(inner) <= 12 else str(inner[:12])[:-1] + ', ...]'}")
            else:
                found.append(f"{indent}{name}/")
        else:
            found.append(f"{indent}{name} = {inner}")
    if len(below) > 60:
        found.append(f"{indent}... {len(below)} in all")
    return found or [f"{indent}(empty)"]


def named(session: DebugSession, name: str, operation: Sequence[Any]) -> str:
    """An operation of that session with its template's kind and layer."""
    declared = session.tape.sessions[name][0].asked
    kind, layer = next(((kind, layer) for number, kind, layer, _ in declared if number == operation[0]), ("?", "?"))
    return f"{kind} '{layer}' {list(operation[1])}"


def message(session: DebugSession, exchange: Exchange) -> str:
    """A wire message and its answer."""
    if exchange.verb not in ("advance", "send"):
        return f"{exchange.session} <- {exchange.verb} ({len(exchange.asked)} entries)"
    grant, operations, _ = exchange.asked
    first = ", ".join(f"op {o[2]} {named(session, exchange.session, o)}" for o in operations[:3])
    more = f" and {len(operations) - 3} more" if len(operations) > 3 else ""
    until = "" if grant == 2**63 - 1 else f" up to {ms(grant)}"
    return f"{exchange.session} <- advance{until}: {first or 'nothing new'}{more}\n    -> {answered(exchange.answer)}"


def operation(session: DebugSession, component: str, op: int) -> list[str]:
    """`why` of an operation on a component that shares the clock: who else was there, what it takes alone."""
    names = [spec.name for spec in session.simulation.specs]
    if component not in names:
        raise InputError("debugger", "component", component, f"one of {', '.join(names)}")
    link = session.inside.link(component)
    messages = session.tape.sessions.get(link.session, [])[: link.position]
    asked = [(o, m) for m in messages if m.verb == "advance" for o in m.asked[1] if o[2] == op]
    if not asked or session.simulation.ports.modes(component) == "asked":
        raise InputError(
            "debugger", f"operation of {component}", op, "no operation of that number has shared its clock"
        )
    given, first = asked[0]
    done = [c for m in messages if m.verb == "advance" for c in getattr(m.answer, "completions", ()) if c.op_id == op]
    what = f"{component} op {op}: {named(session, first.session, given)}"
    if not done:
        return [f"{what}, given at {ms(given[3])} by event {first.event}, not done"]
    end = done[0].finish_ps
    total = end - given[3]
    others = _beside(messages, op, given[3], end)
    found = [f"{what}, {ms(total)} from {ms(given[3])} (event {first.event})"]
    alone = session.inside.alone(component, given)
    if alone is None:
        found.append("  what it takes alone cannot be asked here: the component remembers, or is not there")
    else:
        found.append(f"  network or device  {ms(alone)}   what it takes alone")
        found.append(f"  contention         {ms(total - alone)}   because of others on the same links")
        found.append(f"  sum                {ms(total)}")
    found.append("  at the same time: " + (", ".join(f"op {o}" for o in others[:12]) or "nobody"))
    return found


def _beside(messages: Iterable[Exchange], op: int, start: int, end: int) -> list[int]:
    began: dict[int, int] = {}
    finished: dict[int, int] = {}
    for exchange in messages:
        if exchange.verb == "advance":
            began.update((o[2], o[3]) for o in exchange.asked[1])
            finished.update((c.op_id, c.finish_ps) for c in getattr(exchange.answer, "completions", ()))
    return [o for o, at in began.items() if o != op and at < end and finished.get(o, end + 1) > start]


def who(session: DebugSession) -> list[str]:
    """Who waits for whom now, and the wall time spent waiting for each component."""
    simulation = session.simulation
    found = []
    for event in [session.event, *simulation.kernel.queue.pending()]:
        step = event.subject if event else None
        if event is None or not isinstance(step, InFlight):
            continue
        parts = sorted({component for component, _, _ in session.inside.parts_of(step)})
        found.append(
            f"{state.source(simulation, event)} waits for step {step.number}, which waits for "
            f"{', '.join(parts) or 'a stage'} until {ms(event.time_ps)}"
        )
    for spec in simulation.specs:
        for given, step in simulation.ports.waiters(spec.name):
            waiter = f"step {step.number}" if isinstance(step, InFlight) else "a transfer of K and V"
            found.append(f"{waiter} waits for {spec.name}: op {given.op_id} since {ms(given.at_ps)}")
    found += blocked(session)
    found.append("wall time spent waiting for components:")
    for spec in simulation.specs:
        usage = len(session.tape.sessions.get(f"{spec.name}#0", ()))
        found.append(
            f"  {spec.name:<20} {simulation.ports.wall_s(spec.name):.3f} s in {usage} messages ({spec.options.run})"
        )
    return found


def blocked(session: DebugSession) -> list[str]:
    """Requests that wait, and for what."""
    found = []
    for replica in session.simulation.replicas:
        view = replica.engine.view()
        if view.waiting:
            ids = ", ".join(map(str, view.waiting[:8])) + (", ..." if len(view.waiting) > 8 else "")
            count = len(view.waiting)
            found.append(f"{count} requests wait for {replica.name}, the first for {view.blocked}: {ids}")
        found += [f"request {state.request.id} is in an API server of {replica.name}" for state in replica.coming]
        for request in view.handed:
            found.append(f"request {request} waits on {replica.name} for its K and V to be taken over")
    return found or ["no request is blocked"]


def components(session: DebugSession) -> list[str]:
    found = []
    for spec in session.simulation.specs:
        description = session.inside.link(spec.name).description
        open_ = len(session.simulation.ports.open_operations(spec.name))
        found.append(
            f"{spec.name:<20} {spec.model}, {description.time_policy}, {spec.options.run}, "
            f"{session.simulation.ports.modes(spec.name)}; {open_} operations open; "
            f"features {', '.join(sorted(description.features)) or 'none'}; state {session.inside.state_is(spec.name)}"
        )
    return found


def requests(session: DebugSession) -> list[str]:
    found = []
    for replica in session.simulation.replicas:
        for one in replica.requests():
            found.append(_request(state.request(session.simulation, str(one.request.id)), one.request.id))
    done = len(session.simulation.recorder.done)
    return [*sorted(set(found), key=lambda text: int(text.split()[0])), f"{done} are done"]


def _request(data: Mapping[str, Any], number: int) -> str:
    return (
        f"{number:>6}  {data['state']:<8} on {data['engine']}: {data['computed']} tokens computed, "
        f"{data['produced']} of {data['output_tokens']} produced, {data['blocks']} blocks, "
        f"arrived {ms(data['arrival_ps'])}"
    )


def queue(session: DebugSession) -> list[str]:
    pending = state.queue(session.simulation)
    found = [
        f"{ms(e['time_ps'])}  {e['source']:<16} {e['kind']} {e['about']} (by event {e['cause']})" for e in pending[:30]
    ]
    return found + ([f"... {len(pending)} in all"] if len(pending) > 30 else []) or ["nothing is to come"]

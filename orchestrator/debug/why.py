"""Where a request's latency came from: every picosecond from its arrival to its end, by who took it.

The run is played again with an instrument (`witness.py`) that notes steps, what each component does in them, and of
everybody left out of one the reason (`blame.py`). A step's time goes to its longest chain of operations (of several
data-parallel members the slowest); what is left between steps is waiting or host work. Of an accelerator that asks
others at ports, what it waited there is told apart (`stalls.py`). The parts add up to the latency exactly. While its
first token is on its way to the client the request is computed further: that time counts for the token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import InputError
from ..serving.request_state import RequestState
from ..simulation import Simulation
from ..units import PJ_PER_J
from . import state
from .blame import TURN, Reason
from .recalls import Moves, Piece
from .session import DebugSession
from .stalls import Stalls
from .witness import Slice, Step, Witness

SERVER = "host", "API server and client"
UNDER_WAY = "step", "that is not over: its parts are known then"
LOOKED_AT = Reason("to be looked at: the engine is in a step")


class Share(NamedTuple):
    """``took_ps`` from ``start_ps`` on. ``holders``: of a wait (request, how much it holds of what is waited for)."""

    start_ps: int
    what: str
    who: str
    took_ps: int
    holders: tuple[tuple[int, int], ...] = ()


Shares = list[Share]  # without a gap from arrival to finish


@dataclass(frozen=True, slots=True)
class LatencySplit:
    """``before`` and ``after`` the first token: ps by (what, who). They add up to ``total_ps``.

    ``held``: of each wait that others caused, how much of it each of them held for how long (blocks, places or prompt
    tokens times ps). ``cached`` of its ``prompt`` tokens were found when it was first admitted, ``recalled`` of these
    in tiers, by name, the others in the prefix cache; ``cached`` is None before that, and where the workload does not
    know its tokens, so that it can share none. ``failed``: why it was not served, and ``total_ps`` is until then; empty
    where it was, or still may be.
    """

    request: int
    total_ps: int
    first_ps: int | None
    done: bool
    before: Counter[tuple[str, str]]
    after: Counter[tuple[str, str]]
    held: Mapping[tuple[str, str], Counter[int]]
    steps: list[Step]
    prompt: int
    cached: int | None
    failed: str = ""
    recalled: Mapping[str, int] = field(default_factory=dict)

    @property
    def energy_j(self) -> dict[str, float]:
        """What components have spent on its steps, by its share of their tokens. What devices draw anyway, and what K
        and V on their way take, is nobody's."""
        found: dict[str, float] = {}
        for step in self.steps:
            share = step.share(self.request)
            for component, energy_pj in step.energy_pj.items():
                found[component] = found.get(component, 0.0) + energy_pj / PJ_PER_J * share
        return dict(sorted(found.items()))


def why(session: DebugSession, request: int) -> LatencySplit:
    """Raises InputError for a request that has not arrived by now."""
    rows = session.log[: session.position]
    arrival = next((n for n, row in enumerate(rows, 1) if row.kind == "arrival" and row.about == request), None)
    here = session.position
    if arrival is None or arrival >= here:
        raise InputError("debugger", "request", request, "has not arrived yet, or there is none of that id")
    with session.aside(arrival) as simulation:
        witness = Witness(simulation.mover.networks, request)
        simulation.instruments.add(witness)
        end = None
        recorder = simulation.recorder
        while session.position < here and end is None:
            session.step()
            over = [*recorder.done[-8:], *(one.state for one in recorder.failed[-8:])]
            end = next((s for s in over if s.request.id == request), None)
        witness.close(simulation.kernel.now_ps)
        return split(simulation, witness, request)


def why_all(session: DebugSession) -> list[LatencySplit]:
    """Of all requests that have arrived by now, in order of arrival; the run is played again once."""
    here = session.position
    with session.aside(1) as simulation:
        witness = Witness(simulation.mover.networks)
        simulation.instruments.add(witness)
        while session.position < here:
            session.step()
            if session.event is None or session.failure:
                break
        witness.close(simulation.kernel.now_ps)
        return [split(simulation, witness, request) for request in sorted(state.request_ids(simulation))]


def why_slowest(session: DebugSession, count: int) -> list[LatencySplit]:
    """Of those that have arrived by now that took longest, the slowest first."""
    return sorted(why_all(session), key=lambda answer: (-answer.total_ps, answer.request))[:count]


def why_step(session: DebugSession, instance: str, number: int) -> Step:
    """A step that is done by now, with everything in it. Raises InputError."""
    here, known = session.position, 0
    with session.aside(1) as simulation:
        witness = Witness(simulation.mover.networks)
        simulation.instruments.add(witness)
        while session.position < here and session.event is not None and not session.failure:
            session.step()
            step = witness.steps.get((instance, number))
            if step and step.end_ps >= 0:
                return step
        known = max((step for at, step in witness.steps if at == instance), default=0)
    raise InputError("debugger", f"step of {instance}", number, f"is not done by now; steps 1 to {known} have begun")


def split(simulation: Simulation, witness: Witness, request: int) -> LatencySplit:
    """Of a request that has arrived, by what the witness of its run has seen. Raises InputError for one nobody has."""
    found = state.find(simulation, request)
    if found is None:
        raise InputError("debugger", "request", request, "is held back until an instance serves; go on, then ask")
    sequence, view = found
    done, why_not = view.state == "done", ""
    finish = sequence.end_ps if done else simulation.kernel.now_ps
    if view.state == "failed":
        why_not, finish = state.failed(simulation, request)
    sequence, sent = state.half(simulation, sequence)
    first = sequence.first_token_ps if sent and 0 <= sequence.first_token_ps <= finish else None
    logs, steps = simulation.recorder.logs, witness.mine(request)
    if done and sequence.token_steps:  # SGLang computes it once more, and knows only then that it had ended
        log, _, until = sequence.token_steps[-1]
        steps = [step for step in steps if step.end_ps <= logs[log].end_ps[until - 1]]
    if why_not:  # of the step in which it was given up it has nothing
        steps = [step for step in steps if step.end_ps <= finish]
    kinds = {spec.name: spec.kind for spec in simulation.specs}
    moves = Moves(witness.copies, simulation.mover, simulation.ports)
    under_way = None if done or why_not else witness.under_way(request)
    begun = finish if under_way is None else max([under_way.start_ps, *(step.end_ps for step in steps[-1:])])
    timeline = _timeline(sequence, begun, steps, witness, kinds, moves, Stalls(simulation))
    if begun < finish:
        timeline.append(Share(begun, *UNDER_WAY, finish - begun))
    if sequence.first_token_ps >= 0:
        log, step, _ = sequence.token_steps[0]
        out = logs[log].end_ps[step]
        timeline = _delivered(timeline, out, min(sequence.first_token_ps, finish))
    if done and steps:
        timeline = _delivered(timeline, steps[-1].end_ps, finish)
    before: Counter[tuple[str, str]] = Counter()
    after: Counter[tuple[str, str]] = Counter()
    held: dict[tuple[str, str], Counter[int]] = {}
    for part in timeline:
        key = part.what, part.who
        (before if first is None or part.start_ps < first else after)[key] += part.took_ps
        for holder, units in part.holders:
            held.setdefault(key, Counter())[holder] += units * part.took_ps
    asked = sequence.request
    to_first = first and first - asked.arrival_ps
    cached = sequence.num_cached_tokens if asked.token_ids is not None and sequence.scheduled_ps >= 0 else None
    total = finish - asked.arrival_ps
    prompt, recalled = asked.input_tokens, moves.found(request, cached or 0)
    return LatencySplit(request, total, to_first, done, before, after, held, steps, prompt, cached, why_not, recalled)


def _delivered(timeline: Shares, out_ps: int, there_ps: int) -> Shares:
    """With the way of a token from the engine to the client in place of all else meanwhile."""
    if there_ps <= out_ps:
        return timeline
    found = [Share(out_ps, *SERVER, there_ps - out_ps)]
    for part in timeline:
        end = part.start_ps + part.took_ps
        for begin, until in ((part.start_ps, min(end, out_ps)), (max(part.start_ps, there_ps), end)):
            if begin < until:
                found.append(part._replace(start_ps=begin, took_ps=until - begin))
    return sorted(found)


def _timeline(
    sequence: RequestState,
    finish: int,
    steps: list[Step],
    witness: Witness,
    kinds: Mapping[str, str],
    off_device: Moves,
    stalls: Stalls,
) -> Shares:
    """What the engine's clock says, from arrival to finish."""
    found: Shares = []
    request = sequence.request.id
    over = f"K and V over {', '.join(sorted(witness.networks.get(request, ())))}"
    moves = [Piece(*move, "network", over) for move in witness.moves.get(request, ())]
    moved = sorted([*moves, *off_device.recalls(request)])
    reached, queued = sequence.request.arrival_ps, sequence.queued_ps
    received = sequence.received_ps if sequence.received_ps >= 0 else finish
    if received > reached:
        found.append(Share(reached, *SERVER, received - reached))
        reached = received
    for before, step in enumerate([*steps, None]):
        until = step.start_ps if step else finish
        if until > reached:
            engine = step.instance if step else witness.place.get(request, "")
            if reached < queued:
                early = min(queued, until)
                found.append(_waiting(reached, early, LOOKED_AT))
                reached = early
            found += _gap(request, reached, until, engine, witness, moved, running=before > 0)
        if step is None:
            break
        at = step.start_ps
        for part in step.path():
            found += _part(request, step, part, at, kinds, off_device, stalls)
            at += part.took_ps
        reached = step.end_ps
    return found


def _part(
    request: int, step: Step, part: Slice, at_ps: int, kinds: Mapping[str, str], off_device: Moves, stalls: Stalls
) -> Shares:
    """Of a step, ``at_ps``; what it waits for K and V or weights by what they took alone, and behind whom; of an
    accelerator that asks others its own work, then what it waits for them."""
    until_ps = at_ps + part.took_ps
    if part.component == "memory" and part.component not in kinds:
        pieces = off_device.waited(request, step.waited, at_ps, until_ps, part.layer)
    elif part.layer == "weights" and kinds.get(part.component) == "network":
        pieces = off_device.weights(step.instance, part.component, at_ps, until_ps)
    else:
        who = part.component if part.component in kinds else part.layer
        stalled = stalls.of(part)
        own = Share(at_ps, _what(kinds, part.component), who, part.took_ps - stalled)
        waits = Share(at_ps + own.took_ps, *stalls.named(part.component), stalled) if stalled else None
        return [share for share in (own, waits) if share and share.took_ps]
    return [Share(piece.start_ps, piece.what, piece.who, piece.end_ps - piece.start_ps) for piece in pieces]


def _what(kinds: Mapping[str, str], component: str) -> str:
    """Of a component by its kind; what no component took is named already."""
    kind = kinds.get(component, component)
    return "compute" if kind in ("accelerator", "pim") else kind


def _waiting(start_ps: int, end_ps: int, reason: Reason) -> Share:
    return Share(start_ps, "waiting", reason.text, end_ps - start_ps, reason.holders)


def _gap(
    request: int, start: int, end: int, engine: str, witness: Witness, moved: Sequence[Piece], running: bool
) -> Shares:
    """The time between two of its steps: its K and V move, or it is left out of others' steps, or the host works."""
    found: Shares = []
    reached = start
    for began, ended, what, who in moved:
        begin, stop = max(began, reached), min(ended, end)
        if begin < stop:
            found += _left_out(request, reached, begin, engine, witness, running)
            found.append(Share(begin, what, who, stop - begin))
            reached = stop
    return found + _left_out(request, reached, end, engine, witness, running)


def _left_out(request: int, start: int, end: int, engine: str, witness: Witness, running: bool) -> Shares:
    """Others' steps, and what is between them."""
    found: Shares = []
    reached = start
    for step in witness.others(request, engine, start, end):
        begin, stop = max(step.start_ps, reached), min(step.end_ps if step.end_ps >= 0 else end, end)
        if begin >= stop:
            continue
        if begin > reached:
            found.append(_idle(request, reached, begin, engine, witness, running))
        found.append(_waiting(begin, stop, step.reason(request)))
        reached = stop
    if end > reached:
        found.append(_idle(request, reached, end, engine, witness, running))
    return found


def _idle(request: int, start: int, end: int, engine: str, witness: Witness, running: bool) -> Share:
    """While the engine computes nothing."""
    if reason := witness.standing(request, engine, start):
        return _waiting(start, end, reason)
    return Share(start, "host", "between steps", end - start) if running else _waiting(start, end, TURN)

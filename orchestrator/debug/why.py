"""Where a request's latency came from: every picosecond from its arrival to its end, by who took it.

The run is played again from the arrival with an instrument that notes the steps the request is computed in and
what each component does in them. A step's time goes to its longest chain of operations (of several
data-parallel members the slowest); what is left between steps is waiting or host work. The parts add up
to the latency exactly. While its first token is on its way to the client the request is computed further:
that time counts for the token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..coupling.port import layers
from ..errors import InputError
from ..lowering.work import Work
from ..serving.request_state import RequestState
from . import state
from .session import DebugSession

STAGE = "for a pipeline stage, or another member"
INPUTS = "inputs of the prompts"
SERVER = "host", "API server and client"


class Slice(NamedTuple):
    """``took_ps`` of an operation chain, by component (or reason) and layer."""

    component: str
    layer: str
    took_ps: int


@dataclass(slots=True)
class Step:
    """A step the request was in, and its critical path."""

    instance: str
    number: int
    start_ps: int
    inputs_ps: int  # when its operations could start
    end_ps: int = -1
    chains: list[tuple[int, int, int, list[Slice]]] = field(default_factory=list)  # start, -end, member, parts
    folded: list[Slice] = field(default_factory=list)

    def path(self) -> list[Slice]:
        """Parts that add up to the step's time."""
        found: list[Slice] = []
        if self.inputs_ps > self.start_ps:
            found.append(Slice("host", INPUTS, self.inputs_ps - self.start_ps))
        reached = self.inputs_ps
        for start, minus_end, _, parts in sorted(self.chains, key=lambda chain: chain[:3]):
            if start < reached:
                continue  # a member that had to wait for a slower one
            if start > reached:
                found.append(Slice("waiting", STAGE, start - reached))
            found += parts
            reached = -minus_end
        if self.end_ps > reached:
            found.append(Slice("waiting", STAGE, self.end_ps - reached))
        return found


class Collector:
    """Instrument: all steps' times, the parts of those the request is computed in, and when its K and V moved."""

    def __init__(self, request: int, networks: Callable[[str, str], set[str]]) -> None:
        self._request, self._networks_between = request, networks
        self.spans: dict[tuple[str, int], tuple[int, int]] = {}  # every step: start, end
        self.mine: dict[tuple[str, int], Step] = {}
        self.moves: list[tuple[int, int]] = []
        self.networks: set[str] = set()
        self._moving_since = -1

    def step_launched(self, instance: str, number: int, now_ps: int, starts_ps: int, requests: Sequence[int]) -> None:
        self.spans[instance, number] = (now_ps, now_ps)
        if self._request in requests:
            self.mine[instance, number] = Step(instance, number, now_ps, starts_ps)

    def step_landed(self, instance: str, number: int, now_ps: int, energy_pj: int) -> None:
        self.spans[instance, number] = (self.spans.get((instance, number), (now_ps, 0))[0], now_ps)
        if (instance, number) in self.mine:
            self.mine[instance, number].end_ps = now_ps

    def operations(
        self,
        instance: str,
        step: int,
        member: int,
        component: str,
        items: Sequence[Work],
        start_ps: int,
        took_ps: int,
    ) -> None:
        mine = self.mine.get((instance, step))
        if mine is None:
            return
        if items[0].template.kind == "train" and mine.folded:
            between = sum(part.took_ps for part in mine.folded)
            parts = [*mine.folded, Slice(component, items[0].template.layer, took_ps - between)]
            mine.chains.append((start_ps, -start_ps - took_ps, member, parts))
            mine.folded = []
            return
        part = Slice(component, layers(items), took_ps)
        if mine.chains:
            start, minus_end, whose, parts = mine.chains[-1]
            if whose == member and -minus_end == start_ps:
                mine.chains[-1] = (start, minus_end - took_ps, member, [*parts, part])
                return
        mine.chains.append((start_ps, -start_ps - took_ps, member, [part]))

    def operations_folded(
        self, instance: str, step: int, component: str, items: Sequence[Work], start_ps: int, took_ps: int
    ) -> None:
        if (instance, step) in self.mine:
            self.mine[instance, step].folded.append(Slice(component, layers(items), took_ps))

    def transfer_began(self, request: int, source: str, target: str, now_ps: int) -> None:
        if request == self._request:
            self._moving_since = now_ps
            self.networks |= self._networks_between(source, target)

    def transfer_ended(self, request: int, now_ps: int) -> None:
        if request == self._request:
            self.moves.append((self._moving_since, now_ps))
            self._moving_since = -1

    def close(self, now_ps: int) -> None:
        """What is on its way has been so until now."""
        if self._moving_since >= 0:
            self.transfer_ended(self._request, now_ps)

    def steps(self) -> list[Step]:
        """Those that are done, as they began."""
        return sorted((step for step in self.mine.values() if step.end_ps >= 0), key=lambda step: step.start_ps)

    def others(self, instance: str) -> list[tuple[int, int]]:
        """When the instance was in steps without the request."""
        return sorted(span for who, span in self.spans.items() if who[0] == instance and who not in self.mine)


@dataclass(frozen=True, slots=True)
class LatencySplit:
    """``before`` and ``after`` the first token: ps by (what, who). They add up to ``total_ps``.

    ``cached`` of its ``prompt`` tokens were in the prefix cache when it was first admitted; None before that, and
    where the workload does not know its tokens, so that it can share none.
    """

    request: int
    total_ps: int
    first_ps: int | None
    done: bool
    before: Counter[tuple[str, str]]
    after: Counter[tuple[str, str]]
    steps: list[Step]
    prompt: int
    cached: int | None


def why(session: DebugSession, request: int) -> LatencySplit:
    """Raises InputError for a request that has not arrived by now."""
    rows = session.log[: session.position]
    arrival = next((n for n, row in enumerate(rows, 1) if row.kind == "arrival" and row.about == request), None)
    here = session.position
    if arrival is None or arrival >= here:
        raise InputError("debugger", "request", request, "has not arrived yet, or there is none of that id")
    with session.aside(arrival) as simulation:
        kinds = {spec.name: spec.kind for spec in simulation.specs}
        collector = Collector(request, simulation.mover.networks)
        simulation.instruments.add(collector)
        end = None
        while session.position < here and end is None:
            session.step()
            end = next((s for s in simulation.recorder.done[-8:] if s.request.id == request), None)
        found = state.find(simulation, request)
        if found is None:
            raise AssertionError("it has arrived")
        sequence = found[0]
        finish = sequence.end_ps if end else simulation.kernel.now_ps
        collector.close(simulation.kernel.now_ps)
        logs = simulation.recorder.logs
    sequence, sent = state.half(simulation, sequence)
    first = sequence.first_token_ps if sent and 0 <= sequence.first_token_ps <= finish else None
    steps = collector.steps()
    timeline = _timeline(sequence, finish, steps, collector, kinds)
    if sequence.first_token_ps >= 0:
        log, step, _ = sequence.token_steps[0]
        timeline = _delivered(timeline, logs[log].end_ps[step], min(sequence.first_token_ps, finish))
    if end:
        timeline = _delivered(timeline, steps[-1].end_ps, finish)
    before: Counter[tuple[str, str]] = Counter()
    after: Counter[tuple[str, str]] = Counter()
    for start, what, who, took in timeline:
        (before if first is None or start < first else after)[what, who] += took
    total = finish - sequence.request.arrival_ps
    to_first = first and first - sequence.request.arrival_ps
    asked = sequence.request
    cached = sequence.num_cached_tokens if asked.token_ids is not None and sequence.scheduled_ps >= 0 else None
    return LatencySplit(request, total, to_first, end is not None, before, after, steps, asked.input_tokens, cached)


Timeline = list[tuple[int, str, str, int]]  # (start, what, who, ps), without a gap from arrival to finish


def _delivered(timeline: Timeline, out_ps: int, there_ps: int) -> Timeline:
    """With the way of a token from the engine to the client in place of all else meanwhile."""
    if there_ps <= out_ps:
        return timeline
    found = [(out_ps, *SERVER, there_ps - out_ps)]
    for start, what, who, took in timeline:
        for begin, end in ((start, min(start + took, out_ps)), (max(start, there_ps), start + took)):
            if begin < end:
                found.append((begin, what, who, end - begin))
    return sorted(found)


def _timeline(
    sequence: RequestState,
    finish: int,
    steps: list[Step],
    collector: Collector,
    kinds: dict[str, str],
) -> Timeline:
    """What the engine's clock says, from arrival to finish."""
    found: Timeline = []
    reached, queued = sequence.request.arrival_ps, sequence.queued_ps
    received = sequence.received_ps if sequence.received_ps >= 0 else finish
    if received > reached:
        found.append((reached, *SERVER, received - reached))
        reached = received
    for before, step in enumerate([*steps, None]):
        until = step.start_ps if step else finish
        if until > reached:
            engine = (step or (steps[-1] if steps else None)) and (step or steps[-1]).instance
            if reached < queued:
                early = min(queued, until)
                found.append((reached, "waiting", "to be looked at: the engine is in a step", early - reached))
                reached = early
            found += _gap(reached, until, collector.others(engine or ""), collector, running=before > 0)
        if step is None:
            break
        at = step.start_ps
        for part in step.path():
            found.append(
                (
                    at,
                    _what(kinds, part.component),
                    part.component if part.component in kinds else part.layer,
                    part.took_ps,
                )
            )
            at += part.took_ps
        reached = step.end_ps
    return found


def _what(kinds: dict[str, str], component: str) -> str:
    """Of a component by its kind; what no component took is named already."""
    kind = kinds.get(component, component)
    return "compute" if kind in ("accelerator", "pim") else kind


def _gap(start: int, end: int, others: list[tuple[int, int]], collector: Collector, running: bool) -> Timeline:
    """The time between two of its steps: moving, behind others' steps, or the host's work."""
    found: Timeline = []
    reached = start
    covers = [(*span, "network", f"K and V over {', '.join(sorted(collector.networks))}") for span in collector.moves]
    covers += [(*span, "waiting", "for others' steps: no budget, blocks or place") for span in others]
    for begin, finish, what, who in sorted(covers):
        begin, finish = max(begin, reached), min(finish, end)
        if finish <= begin:
            continue
        if begin > reached:
            found.append((reached, *_idle(running), begin - reached))
        found.append((begin, what, who, finish - begin))
        reached = finish
    if end > reached:
        found.append((reached, *_idle(running), end - reached))
    return found


def _idle(running: bool) -> tuple[str, str]:
    return ("host", "between steps") if running else ("waiting", "for the engine's next step")

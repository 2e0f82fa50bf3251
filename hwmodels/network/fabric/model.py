"""The ``fabric`` component: operations become bundles of flows that share the links they cross.

An operation first waits for its launch and its dependent steps (latency), then its flows move at max-min
fair rates (`sharing`), which change only when a bundle starts or ends (`flows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

from ...base import Model
from ...interface import (
    MAX_PS,
    Advanced,
    BadOperation,
    Completion,
    ConfigError,
    Description,
    Feature,
    LateOperation,
    Operation,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
    Use,
    check_operation,
)
from ..ranks import ranks_of
from .busiest import busiest
from .config import FabricConfig
from .flows import Flows
from .meaning import Meaning
from .memories import Misfit
from .shapes import Topology
from .slow import MILLION, NEVER, Slow
from .trains import Leg, Train

NAMED = 12  # links named where one is not found


@dataclass(frozen=True, slots=True)
class Open:
    """An operation in progress, for its completion."""

    operation: Operation
    energy_pj: int | None


@dataclass(frozen=True, slots=True)
class Future:
    """The next end, if nothing new comes: the state right after it and what ended; or (``ended`` None)
    the present state, from which it follows plainly."""

    flows: Flows
    end_ps: int | None
    ended: list[int] | None


class Fabric(Model[FabricConfig]):
    """Flow-level network with max-min fair sharing."""

    description = Description(
        name="fabric",
        kind="network",
        version="1",
        time_policy=TimePolicy.CONSERVATIVE,
        op_kinds=frozenset(
            {"send", "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "train", "slowdown"}
        ),
        features=frozenset({Feature.SNAPSHOT, Feature.INSPECT, Feature.RESOURCES, Feature.ACCOUNTS}),
        max_batch_ops=500,  # each event looks at everything in progress
        summary="links and switches shared max-min fairly; collectives by algorithm; catalog interconnects",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        try:
            memories = [memory.memory() for memory in self.config.memories]
            self._network = Topology(
                self.config.groups_as_pairs(), *self.config.tiers(), self.config.custom_all_reduce, memories
            )
        except ValueError as error:
            raise ConfigError(*self._layout(error), str(error)) from None
        self._graph, self._capacity = self._network.graph, self._network.capacity
        self._meaning = Meaning(self.config.energy_pj_per_bit)
        self._now_ps = 0
        self._cores = [core for core in self._network.cores.values() if core.rises]
        self._flows = Flows(self._capacity, self._cores)
        self._future: Future | None = None
        self._after: Future | None = None  # what follows that
        self._open: dict[int, Open] = {}
        self._slowable: dict[int, frozenset[int]] = {}  # links of a slowdown

    def _layout(self, error: ValueError) -> tuple[str, object]:
        """(field, value) of what the links are laid out by, and cannot be."""
        if isinstance(error, Misfit) and self.config.scale_out is not None:
            return "scale_out.topology", self.config.scale_out.topology
        return "topology", self.config.topology

    # Before time 0 ------------------------------------------------------------------------------

    def check_template(self, template: Template) -> None:
        if template.kind == "train":
            if not self._meaning.declare_train(template):
                raise UnsupportedOperation("fabric", template, "is made of templates not declared before it")
            return
        if template.kind == "slowdown":
            self._slowable[template.id] = self._links_called(template)
            return
        ranks = ranks_of("fabric", template, self._graph.index, self.config.group_names())
        try:
            wanted = str(template.attributes.get("algorithm") or self.config.algorithms.get(template.kind, ""))
            self._meaning.declare(template, self._network.shapes(template.kind, ranks, wanted))
        except ValueError as error:
            raise UnsupportedOperation("fabric", template, str(error)) from None

    def _links_called(self, template: Template) -> frozenset[int]:
        pattern, names = str(template.attributes["links"]), [link.name for link in self._graph.links]
        found = frozenset(number for number, name in enumerate(names) if fnmatchcase(name, pattern))
        if not found:
            near = get_close_matches(pattern, names, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            some = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            raise UnsupportedOperation("fabric", template, f"no link is called {pattern!r}; {hint}there are {some}")
        return found

    def resources(self) -> Mapping[int, frozenset[int]]:
        """template -> numbers of the links it may cross: those that share none never meet."""
        return self._meaning.links() | self._slowable

    # The clock ----------------------------------------------------------------------------------

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        if operations:
            self._catch_up()
            self._future = self._after = None
            if stop_at_first_completion and len(operations) == 1 and self._flows.idle:
                alone = self._alone(operations[0], grant_ps)
                if alone is not None:
                    self._now_ps = alone.finish_ps
                    return Advanced(self._now_ps, (alone,), None)
            for operation in sorted(operations, key=_begins):
                self._take(operation)
        done: list[Completion] = []
        reached = grant_ps
        while not (done and stop_at_first_completion):
            found = self._play_to(grant_ps)
            if not found:
                break
            done += found
            if stop_at_first_completion:
                reached = found[0].finish_ps
        self._now_ps = max(self._now_ps, reached)
        end = self._next_end()
        return Advanced(self._now_ps, tuple(done), None if end is None else min(end, MAX_PS))

    def _next_end(self) -> int | None:
        """When the next operation ends if nothing new comes: plain to see, or played out on a copy."""
        if self._future is None:
            self._future = _foresee(self._flows)
        return self._future.end_ps

    def foretold(self) -> Advanced | None:
        """As `Foretelling.foretold`."""
        end = self._next_end()
        if end is None or end > MAX_PS or self._future is None:
            return None
        if self._future.ended is None:
            self._future = _played(self._flows.clone(), end)
        if self._after is None:
            self._after = _foresee(self._future.flows)
        done = tuple(self._completion(op_id, end) for op_id in self._future.ended or ())
        return Advanced(end, done, None if self._after.end_ps is None else min(self._after.end_ps, MAX_PS))

    def _play_to(self, grant_ps: int) -> list[Completion]:
        """What ends first up to the grant, as foreseen if it was: no one can come in between any more."""
        future = self._future
        if future is not None and (future.end_ps is None or future.end_ps > grant_ps):
            return []
        if future is not None and future.ended is not None:
            self._flows, when, ended = future.flows, future.end_ps, future.ended
            self._future, self._after = self._after, None
        else:
            self._future = None
            when, ended = _play(self._flows, grant_ps + 1)
        if when is None:
            return []
        done = [self._completion(op_id, when) for op_id in ended]
        for completion in done:
            del self._open[completion.op_id]
        return done

    def _catch_up(self) -> None:
        """Play what happens up to now; nothing ends, as that would have been told."""
        while True:
            when = self._flows.next_ps()
            if when is None or when > self._now_ps:
                return
            if self._flows.at(when):
                raise AssertionError("an end was missed")

    def _completion(self, op_id: int, when: int) -> Completion:
        done = self._open[op_id]
        return Completion(op_id, done.operation.at_ps, when, Provenance.MODELLED, done.energy_pj)

    def _alone(self, operation: Operation, grant_ps: int) -> Completion | None:
        """The end of one that nobody can meet, as nothing else is in progress: what its flows would give. None if it is
        beyond the grant, or not that plain."""
        template = self._checked(operation)
        if template.kind in ("train", "slowdown"):
            return None
        leg = self._meaning.leg(template.id, operation.values[0])
        end = operation.at_ps + leg.alone_ps
        if end > grant_ps or not self._flows.at_full_rate(leg.shape):
            return None
        self._meaning.carry(template.id, leg, operation.values[0])
        energy = self._meaning.energy_pj(template, operation.values)
        return Completion(operation.op_id, operation.at_ps, end, Provenance.MODELLED, energy)

    def _checked(self, operation: Operation) -> Template:
        """Its template. Raises BadOperation, LateOperation."""
        template = check_operation(operation, self.templates)
        if operation.at_ps < self._now_ps:
            raise LateOperation(operation, self._now_ps)
        if operation.op_id in self._open:
            raise BadOperation(f"operation {operation.op_id} is in progress already")
        return template

    def _take(self, operation: Operation) -> None:
        template = self._checked(operation)
        if template.kind == "train":
            repeat, pairs = self._meaning.laps(template, operation.values)
            legs = tuple(self._meaning.leg(member, size, gap) for member, gap, size in pairs)
            for leg, (member, _, size) in zip(legs, pairs, strict=True):
                self._meaning.carry(member, leg, size * repeat)
            self._flows.add(operation.op_id, operation.at_ps, Train(operation.op_id, operation.at_ps, legs, repeat))
        elif template.kind == "slowdown":
            self._flows.add(operation.op_id, operation.at_ps, self._slow(operation))
        else:
            leg, size = self._meaning.leg(template.id, operation.values[0]), operation.values[0]
            self._meaning.carry(template.id, leg, size)
            self._flows.add(operation.op_id, operation.at_ps, leg)
        self._open[operation.op_id] = Open(operation, self._meaning.energy_pj(template, operation.values))

    def _slow(self, operation: Operation) -> Slow:
        (millionths,) = operation.values
        if 0 < millionths < MILLION:
            raise BadOperation(
                f"operation {operation.op_id} (slowdown) makes links quicker than ever: {millionths} / 10^6"
            )
        return Slow(operation.template, self._slowable[operation.template], millionths)

    # Looking at it ------------------------------------------------------------------------------

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """The busiest links: bytes, the seconds these need at full rate, and who sent them."""
        carried = self._meaning.carried_with([(self.templates[use.template], use.values, use.times) for use in uses])
        sent = ((_who(self.templates[template]), shape, size) for template, shape, size in carried)
        error = max(tier.link.error for tier in self.config.tiers() if tier)
        return {"links": busiest(self._graph.links, sent), "relative_error": {"modelled": error}}

    def inspect(self) -> dict[str, Any]:
        self._catch_up()
        moving = {
            str(b.op_id): {
                "left_bytes": b.left,
                "rate_bytes_s": b.rate,
                "since_ps": b.since_ps,
                "finish_ps": b.finish_ps,
            }
            for b in self._flows.moving.values()
        }
        return {
            "now_ps": self._now_ps,
            "joining": {str(b.op_id): b.join_ps for b in self._flows.joining},
            "moving": moving,
            "trains": {str(t.op_id): {"leg": t.leg, "of": t.total} for t in self._flows.trains.values()},
            "slowed": {self._slow_name(slow): slow.millionths / MILLION for slow in self._flows.slows.values()},
        }

    def _slow_name(self, slow: Slow) -> str:
        return str(self.templates[slow.key].attributes["links"])

    def snapshot(self) -> dict[str, Any]:
        self._catch_up()
        carried = [[template, place, size] for (template, place), size in self._meaning.carried.items()]
        operations = [
            [o.operation.op_id, o.operation.template, list(o.operation.values), o.operation.at_ps, o.energy_pj]
            for o in self._open.values()
        ]
        return {"now_ps": self._now_ps, "open": operations, "flows": self._flows.snapshot(), "carried": carried}

    def restore(self, state: dict[str, Any]) -> None:
        self._now_ps = int(state["now_ps"])
        self._meaning.carried = {(template, place): size for template, place, size in state["carried"]}
        self._open = {}
        legs: dict[int, tuple[Leg, ...]] = {}
        repeats: dict[int, int] = {}
        coming: dict[int, Slow] = {}
        for op_id, template, values, at_ps, energy in state["open"]:
            operation = Operation(template, tuple(values), op_id, at_ps)
            self._open[op_id] = Open(operation, energy)
            declared = self.templates[template]
            if declared.kind == "slowdown":
                coming[op_id] = self._slow(operation)
            elif declared.kind == "train":
                repeats[op_id], pairs = self._meaning.laps(declared, operation.values)
                legs[op_id] = tuple(self._meaning.leg(member, size, gap) for member, gap, size in pairs)
            else:
                legs[op_id] = (self._meaning.leg(template, operation.values[0]),)
        self._flows, self._future, self._after = Flows(self._capacity, self._cores), None, None
        self._flows.restore(state["flows"], legs, repeats, coming, self._slowable)


def _foresee(flows: Flows) -> Future:
    """The next end of these."""
    end = flows.sure_end_ps()  # `NEVER`, as below, if all that is left has to wait for a link that is down
    if end is not None or flows.idle:
        return Future(flows, end, None)
    twin = flows.clone()
    when, ended = _play(twin, NEVER)
    return Future(twin, when, ended) if ended else Future(flows, when, None)


def _played(flows: Flows, end: int) -> Future:
    """These, played to the end that is plain to see."""
    _, ended = _play(flows, end + 1)
    if not ended:
        raise AssertionError("the foreseen end did not come")
    return Future(flows, end, ended)


def _play(flows: Flows, before_ps: int) -> tuple[int | None, list[int]]:
    """Up to the first end before that: when it was, or what comes next would be, and what ended."""
    while True:
        when = flows.next_ps()
        if when is None or when >= before_ps:
            return when, []
        if ended := flows.at(when):
            return when, ended


_begins = attrgetter("at_ps", "op_id")


def _who(template: Template) -> str:
    return f"{template.attributes.get('owner', '?')} {template.layer}"

"""The ``fabric`` component: operations become bundles of flows that share the links they cross.

An operation first waits for its launch and its dependent steps (latency), then its flows move at the
rates of `sharing`, which change only when a bundle starts or ends. State is touched at those moments
alone, so how a stretch of time is cut into grants cannot change a picosecond.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...base import Model
from ...interface import (
    PS_PER_S,
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
from .config import FabricConfig
from .shapes import Network, Shape
from .sharing import fair_rates

BUSIEST = 20  # links named in the statistics


@dataclass(slots=True)
class Bundle:
    """One operation in progress; ``left`` bytes of its largest flow as of ``since_ps``."""

    op_id: int
    template: int
    at_ps: int
    join_ps: int  # latency paid, flows begin
    shape: Shape
    cap: float
    left: float
    energy_pj: int | None
    rate: float = 0.0
    since_ps: int = 0
    finish_ps: int = -1


class Fabric(Model[FabricConfig]):
    """Flow-level network with max-min fair sharing."""

    description = Description(
        name="fabric",
        kind="network",
        version="1",
        time_policy=TimePolicy.CONSERVATIVE,
        op_kinds=frozenset({"send", "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"}),
        features=frozenset({Feature.SNAPSHOT, Feature.INSPECT, Feature.RESOURCES, Feature.ACCOUNTS}),
        summary="links and switches shared max-min fairly; collectives by algorithm; catalog interconnects",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        try:
            self._network = Network(self.config.groups_as_pairs(), *self.config.tiers())
        except ValueError as error:
            raise ConfigError("topology", self.config.topology, str(error)) from None
        self._graph, self._capacity = self._network.graph, self._network.capacity
        self._shapes: dict[int, list[Shape]] = {}
        self._now_ps = 0
        self._joining: list[Bundle] = []  # by join time
        self._moving: list[Bundle] = []
        self._on: dict[int, set[int]] = {}  # link -> ids of bundles moving over it
        self._by_id: dict[int, Bundle] = {}
        self._bytes: dict[tuple[int, str], float] = {}  # (link, who) -> bytes

    # Before time 0 ------------------------------------------------------------------------------

    def check_template(self, template: Template) -> None:
        ranks = str(template.attributes["ranks"]).split(",")
        for rank in ranks:
            if rank not in self._graph.index:
                have = ", ".join(name for name, _ in self.config.groups_as_pairs())
                raise UnsupportedOperation("fabric", template, f"{rank} is not among the devices of {have}")
        if template.kind == "send":
            if len(ranks) % 2 or any(a == b for a, b in zip(ranks[::2], ranks[1::2], strict=True)):
                raise UnsupportedOperation("fabric", template, "needs pairs of different devices")
        elif len(set(ranks)) != len(ranks) or len(ranks) < 2:
            raise UnsupportedOperation("fabric", template, "needs at least two devices, each once")
        try:
            wanted = str(template.attributes.get("algorithm") or self.config.algorithms.get(template.kind, ""))
            self._shapes[template.id] = self._network.shapes(template.kind, ranks, wanted)
        except ValueError as error:
            raise UnsupportedOperation("fabric", template, str(error)) from None

    def resources(self) -> Mapping[int, frozenset[int]]:
        """template -> numbers of the links it may cross: those that share none never meet."""
        return {
            template: frozenset(link for shape in shapes for link in shape.weights)
            for template, shapes in self._shapes.items()
        }

    # The clock ----------------------------------------------------------------------------------

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        for operation in sorted(operations, key=lambda o: (o.at_ps, o.microstep, o.op_id)):
            self._take(operation)
        self._joining.sort(key=lambda bundle: (bundle.join_ps, bundle.op_id))
        done: list[Completion] = []
        reached = grant_ps
        while True:
            when = self._next_ps()
            if when is None or when > grant_ps or (done and stop_at_first_completion):
                break
            done += self._at(when)
            if done and stop_at_first_completion:
                reached = when
        self._now_ps = max(self._now_ps, reached)
        return Advanced(self._now_ps, tuple(done), self._next_ps())

    def _take(self, operation: Operation) -> None:
        template = check_operation(operation, self.templates)
        if operation.at_ps < self._now_ps:
            raise LateOperation(operation, self._now_ps)
        if operation.op_id in self._by_id:
            raise BadOperation(f"operation {operation.op_id} is in progress already")
        size = operation.values[0]
        shape, low = self._choose(template.id, size)
        copy_ps = round(shape.copy_s * size * PS_PER_S)
        join = operation.at_ps + (shape.low_ps if low else shape.bulk_ps) + copy_ps
        per_bit = self.config.energy_pj_per_bit
        bundle = Bundle(
            operation.op_id, template.id, operation.at_ps, max(join, operation.at_ps + 1), shape,
            shape.low_rate if low else shape.rate, shape.largest * size,
            None if per_bit is None else round(shape.moved * size * 8 * per_bit),
        )  # fmt: skip
        self._joining.append(bundle)
        self._by_id[bundle.op_id] = bundle
        self._count(template, shape, size)

    def _choose(self, template: int, size: int) -> tuple[Shape, bool]:
        """The algorithm and protocol that would be quickest alone, the first of equals."""
        best: tuple[float, Shape, bool] | None = None
        for shape in self._shapes[template]:
            work = shape.largest * size * PS_PER_S
            for low, rate, latency in ((True, shape.low_rate, shape.low_ps), (False, shape.rate, shape.bulk_ps)):
                if not rate:
                    continue
                time = latency + work / rate
                if best is None or time < best[0]:
                    best = (time, shape, low)
        if best is None:
            raise AssertionError("every template has a shape with a rate")
        return best[1], best[2]

    def _next_ps(self) -> int | None:
        """The next change; also the promise, as nothing can end before it."""
        times = [bundle.finish_ps for bundle in self._moving]
        if self._joining:
            times.append(self._joining[0].join_ps)
        return min(times, default=None)

    def _at(self, when: int) -> list[Completion]:
        """Everything that ends or begins to move at that time."""
        ended = [bundle for bundle in self._moving if bundle.finish_ps == when]
        began = []
        while self._joining and self._joining[0].join_ps == when:
            began.append(self._joining.pop(0))
        touched: set[int] = set()
        for bundle in ended:
            self._moving.remove(bundle)
            del self._by_id[bundle.op_id]
            for link in bundle.shape.weights:
                self._on[link].discard(bundle.op_id)
                touched |= self._on[link]
        for bundle in began:
            bundle.since_ps = when
            self._moving.append(bundle)
            for link in bundle.shape.weights:
                others = self._on.setdefault(link, set())
                touched |= others
                others.add(bundle.op_id)
            touched.add(bundle.op_id)
        if touched:
            self._share(touched, when)
        ended.sort(key=lambda bundle: bundle.op_id)
        return [Completion(b.op_id, b.at_ps, when, Provenance.MODELLED, b.energy_pj) for b in ended]

    def _share(self, touched: set[int], when: int) -> None:
        """New rates for whoever shares a link, directly or through others, with what changed."""
        reach = list(touched)
        seen = set(reach)
        for op_id in reach:
            for link in self._by_id[op_id].shape.weights:
                new = self._on[link] - seen
                seen |= new
                reach += new
        group = [self._by_id[op_id] for op_id in sorted(seen)]
        for bundle in group:
            bundle.left -= bundle.rate * (when - bundle.since_ps) / PS_PER_S
            bundle.since_ps = when
        if len(group) == 1:
            group[0].rate = group[0].cap
        else:
            rates = fair_rates([b.shape.weights for b in group], [b.cap for b in group], self._capacity)
            for bundle, rate in zip(group, rates, strict=True):
                bundle.rate = rate
        for bundle in group:
            bundle.finish_ps = when + max(0, round(max(bundle.left, 0.0) / bundle.rate * PS_PER_S))

    # Looking at it ------------------------------------------------------------------------------

    def _count(self, template: Template, shape: Shape, size: int, times: int = 1) -> None:
        """Book what an operation puts on each link."""
        who = f"{template.attributes.get('owner', '?')} {template.layer}"
        for link, weight in shape.weights.items():
            key = (link, who)
            self._bytes[key] = self._bytes.get(key, 0.0) + weight * shape.largest * size * times

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """The busiest links: bytes, the seconds these need at full rate, and who sent them."""
        for use in uses:
            shape, _ = self._choose(use.template, use.values[0])
            self._count(self.templates[use.template], shape, use.values[0], use.times)
        links: dict[int, dict[str, float]] = {}
        for (link, who), size in self._bytes.items():
            links.setdefault(link, {})[who] = size
        rows = []
        for number, users in links.items():
            wire = self._graph.links[number]
            total = sum(users.values())
            shares = dict(sorted(((who, round(size)) for who, size in users.items()), key=lambda x: (-x[1], x[0])))
            rows.append({"link": wire.name, "bytes": round(total), "busy_s": total / wire.bytes_per_s, "users": shares})
        rows.sort(key=lambda row: (-float(str(row["busy_s"])), str(row["link"])))
        return {"links": rows[:BUSIEST]}

    def inspect(self) -> dict[str, Any]:
        moving = {
            str(b.op_id): {
                "left_bytes": b.left,
                "rate_bytes_s": b.rate,
                "since_ps": b.since_ps,
                "finish_ps": b.finish_ps,
            }
            for b in self._moving
        }
        return {"now_ps": self._now_ps, "joining": {str(b.op_id): b.join_ps for b in self._joining}, "moving": moving}

    def snapshot(self) -> dict[str, Any]:
        def saved(b: Bundle) -> list[Any]:
            shape = self._shapes[b.template].index(b.shape)
            return [b.op_id, b.template, b.at_ps, b.join_ps, shape, b.cap, b.left, b.energy_pj, b.rate, b.since_ps,
                    b.finish_ps]  # fmt: skip

        sent = [[link, who, size] for (link, who), size in self._bytes.items()]
        return {"now_ps": self._now_ps, "joining": [saved(b) for b in self._joining],
                "moving": [saved(b) for b in self._moving], "bytes": sent}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        def read(row: list[Any]) -> Bundle:
            op_id, template, at_ps, join_ps, shape, cap, left, energy, rate, since, finish = row
            return Bundle(op_id, template, at_ps, join_ps, self._shapes[template][shape], float(cap), float(left),
                          energy, float(rate), since, finish)  # fmt: skip

        self._now_ps = int(state["now_ps"])
        self._joining = [read(row) for row in state["joining"]]
        self._moving = [read(row) for row in state["moving"]]
        self._by_id = {b.op_id: b for b in self._joining + self._moving}
        self._bytes = {(int(link), str(who)): float(size) for link, who, size in state["bytes"]}
        self._on = {}
        for bundle in self._moving:
            for link in bundle.shape.weights:
                self._on.setdefault(link, set()).add(bundle.op_id)

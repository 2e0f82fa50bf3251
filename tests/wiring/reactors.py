"""Components that react: what they do at a moment, stated once, and driven in two ways.

A reactor serves an operation of size ``s`` and depth ``d``. At depth 0, or without ports, it serves it itself: one
after another. Else it asks ``fan`` times at its ports, in turn, each after a delay of its own, as its credits allow; it
is done some time after the last answer. Some requests are posted: nobody waits for their answers. What it does is a
function of its state and of the moment alone, in the order: its own timers, answers, operations.

`ReactorModel` drives one in windows, as a component. `reference` drives all of them by one clock, moment by moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from metronome.hwmodels.interface import (
    Advanced,
    Completion,
    Description,
    Feature,
    LateOperation,
    Operation,
    Provenance,
    Template,
    TimePolicy,
)
from metronome.hwmodels.ports import Port, Request

LOAD = Template(0, "load", "load")


class Shape(NamedTuple):
    """``ports``: (least latency, credits) of each. Times are picoseconds."""

    ports: tuple[tuple[int, int], ...]
    service: int = 10
    a_byte: int = 1
    fan: int = 1
    delay: int = 0  # of its requests, beyond the least latency
    posted: int = 0  # requests that nobody waits for
    after: int = 1  # from the last answer to its own completion


class Reactor:
    """What it does; ``done`` and ``wanted`` are what came of the last moment."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.timers: list[tuple[int, int, int]] = []  # at, sequence, op
        self.done: list[tuple[int, int, int]] = []  # op, start, finish
        self.wanted: list[tuple[int, int, tuple[int, int], int]] = []  # port, request, (size, depth), at
        self._turn = self._request = self._sequence = 0
        self._free_ps = 0
        self._started: dict[int, int] = {}
        self._left: dict[int, int] = defaultdict(int)  # answers an operation waits for
        self._of: dict[int, tuple[int, int]] = {}  # request -> (operation or -1, port)
        self._used = [0] * len(shape.ports)
        self._queued: list[list[tuple[int, tuple[int, int], int]]] = [[] for _ in shape.ports]

    def moment(self, now: int, answers: Sequence[int], operations: Sequence[tuple[int, tuple[int, int]]]) -> None:
        for request in answers:
            self._answered(now, request)
        for op, values in operations:
            self._asked(now, op, values)

    def fire(self, now: int) -> None:
        """Its own timers of that moment."""
        while self.timers and self.timers[0][0] == now:
            _, _, op = heappop(self.timers)
            self.done.append((op, self._started.pop(op), now))

    def _asked(self, now: int, op: int, values: tuple[int, int]) -> None:
        size, depth = values
        self._started[op] = now
        if not depth or not self.shape.ports:
            self._free_ps = max(now, self._free_ps) + self.shape.service + size * self.shape.a_byte
            self._timer(self._free_ps, op)
            return
        for number in range(self.shape.fan + self.shape.posted):
            port = self._turn % len(self.shape.ports)
            self._turn += 1
            waits = op if number < self.shape.fan else -1
            self._left[op] += waits == op
            self._request += 1
            self._of[self._request] = (waits, port)
            self._queued[port].append((self._request, (size + number, depth - 1), self.shape.delay * number))
            self._push(now, port)

    def _push(self, now: int, port: int) -> None:
        latency, most = self.shape.ports[port]
        while self._queued[port] and self._used[port] < most:
            request, values, delay = self._queued[port].pop(0)
            self._used[port] += 1
            self.wanted.append((port, request, values, now + latency + delay))

    def _answered(self, now: int, request: int) -> None:
        op, port = self._of.pop(request)
        self._used[port] -= 1
        if op >= 0:
            self._left[op] -= 1
            if not self._left[op]:
                del self._left[op]
                self._timer(now + self.shape.after, op)
        self._push(now, port)

    def _timer(self, at: int, op: int) -> None:
        self._sequence += 1
        heappush(self.timers, (at, self._sequence, op))


class ReactorModel:
    """A reactor as a component."""

    def __init__(self, shape: Shape, policy: TimePolicy = TimePolicy.CONSERVATIVE) -> None:
        ports = tuple(
            Port(f"p{number}", "memory", (LOAD,), latency, most) for number, (latency, most) in enumerate(shape.ports)
        )
        self.description = Description(
            "reactor", "memory", "1", policy, frozenset({"load"}), frozenset({Feature.PORTS}), ports=ports
        )
        self.reactor = Reactor(shape)
        self._now = 0
        self._answers: list[tuple[int, int]] = []

    @classmethod
    def config_schema(cls) -> dict[str, object]:
        return {}

    def declare(self, templates: Sequence[Template]) -> None:
        pass

    def statistics(self, uses: Sequence[object] = ()) -> dict[str, object]:
        return {}

    def answered(self, completions: Sequence[Completion]) -> None:
        self._answers += [(c.finish_ps, c.op_id) for c in completions]

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        answers: dict[int, list[int]] = defaultdict(list)
        asked: dict[int, list[tuple[int, tuple[int, int]]]] = defaultdict(list)
        for at, request in self._answers:
            answers[at].append(request)
        for operation in operations:
            if operation.at_ps < self._now:
                raise LateOperation(operation, self._now)
            asked[operation.at_ps].append((operation.op_id, (operation.values[0], operation.values[1])))
        self._answers = []
        times = sorted({*answers, *asked})
        reactor = self.reactor
        while True:
            now = min([*times[:1], *([reactor.timers[0][0]] if reactor.timers else [])], default=grant_ps + 1)
            if now > grant_ps:
                break
            reactor.fire(now)
            if times and times[0] == now:
                reactor.moment(now, answers[now], asked[now])
                times.pop(0)
        done = tuple(Completion(op, start, end, Provenance.MODELLED) for op, start, end in reactor.done)
        wanted = tuple(Request(f"p{port}", 0, values, request, at) for port, request, values, at in reactor.wanted)
        reactor.done, reactor.wanted = [], []
        self._now = grant_ps
        return Advanced(grant_ps, done, reactor.timers[0][0] if reactor.timers else None, wanted)


class Asked(NamedTuple):
    """From outside: at which reactor, when, of what size and depth."""

    reactor: int
    at_ps: int
    size: int
    depth: int


def reference(
    shapes: Sequence[Shape], wires: Mapping[tuple[int, int], int], asked: Sequence[Asked]
) -> tuple[dict[int, tuple[int, int]], int]:
    """(start, finish) of every operation from outside, and how many requests were answered.

    ``wires``: (reactor, port) -> reactor. One clock, one moment after another; who asks without latency comes before
    whom it asks.
    """
    reactors = [Reactor(shape) for shape in shapes]
    order = _order(shapes, wires)
    numbers = {wire: number for number, wire in enumerate(sorted(wires))}
    due: dict[int, dict[int, list[tuple[int, ...]]]] = defaultdict(lambda: defaultdict(list))  # reactor, time
    back: dict[int, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    owner: list[dict[int, tuple[int, int, int]]] = [{} for _ in shapes]
    ids = [0] * len(shapes)
    found: dict[int, tuple[int, int]] = {}
    answered = 0
    for number, (reactor, at, size, depth) in enumerate(asked):
        due[reactor][at].append((-1, 0, number, size, depth))

    def collect(me: int) -> None:
        nonlocal answered
        for op, start, end in reactors[me].done:
            asker, number, request = owner[me].pop(op)
            if asker < 0:
                found[request] = (start, end)
            else:
                back[asker][end].append((number, request))
                answered += 1
        for port, request, (size, depth), at in reactors[me].wanted:
            due[wires[me, port]][at].append((me, numbers[me, port], request, size, depth))
        reactors[me].done, reactors[me].wanted = [], []

    while True:
        times = [r.timers[0][0] for r in reactors if r.timers]
        times += [t for waiting in (*due.values(), *back.values()) for t in waiting]
        if not times:
            return found, answered
        now = min(times)
        for me, reactor in enumerate(reactors):
            reactor.fire(now)
            collect(me)
        for me in order:
            operations = []
            for asker, number, request, size, depth in sorted(due[me].pop(now, [])):
                owner[me][ids[me]] = (asker, number, request)
                operations.append((ids[me], (size, depth)))
                ids[me] += 1
            answers = [request for _, request in sorted(back[me].pop(now, []))]
            reactors[me].moment(now, answers, operations)
            collect(me)


def _order(shapes: Sequence[Shape], wires: Mapping[tuple[int, int], int]) -> list[int]:
    order: list[int] = []

    def visit(me: int) -> None:
        if me in order:
            return
        for port, (latency, _) in enumerate(shapes[me].ports):
            if not latency:
                visit(wires[me, port])
        order.append(me)

    for me in range(len(shapes)):
        visit(me)
    return order[::-1]

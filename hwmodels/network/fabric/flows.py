"""What moves over the links at a moment, and when that changes.

State is touched only when an operation begins to move or ends, so how a stretch of time is cut into grants
cannot change a picosecond. A *train* (the same few operations again and again, with gaps in between)
is not played out while nobody else is near: its end is arithmetic. As soon as something begins to move
on one of its links it is put where it stands at that moment, and goes operation by operation until it
is alone again.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from ...interface import PS_PER_NS, PS_PER_S
from .memories import Core
from .shapes import Shape
from .sharing import fair_rates
from .slow import MILLION, NEVER, Slow, what_is_left
from .trains import Leg, Train, duration_ps


@dataclass(slots=True)
class OperationFlows:
    """An operation's flows; ``left`` bytes of the largest as of ``since_ps``."""

    op_id: int
    shape: Shape
    cap: float
    left: float
    join_ps: int
    train: Train | None = None
    rate: float = 0.0
    since_ps: int = 0
    finish_ps: int = -1


class Flows:
    """Everything in progress; ``capacity`` of each link in bytes/s, when it is not slow; ``cores`` of memories whose
    latency rises."""

    def __init__(self, capacity: Sequence[float], cores: Sequence[Core] = ()) -> None:
        self._full, self._capacity, self._cores = capacity, capacity, cores
        self._slowed = 0  # bits of links that are not at their full rate
        self.slows: dict[int, Slow] = {}  # by key
        self.arriving: list[tuple[int, int, Leg | Train | Slow]] = []  # by (time, operation)
        self.joining: list[OperationFlows] = []  # by (join time, operation)
        self.moving: dict[int, OperationFlows] = {}
        self.alone: dict[int, Train] = {}
        self.trains: dict[int, Train] = {}

    def add(self, op_id: int, at_ps: int, what: Leg | Train | Slow) -> None:
        """An operation that begins at ``at_ps``, not before what was added already: now, if nothing changes up to
        then."""
        when = self.next_ps()
        if isinstance(what, Slow) or (when is not None and when <= at_ps):
            insort(self.arriving, (at_ps, op_id, what), key=lambda entry: entry[:2])
        else:
            self._begin(op_id, at_ps, what)

    def _begin(self, op_id: int, at_ps: int, what: Leg | Train) -> None:
        if isinstance(what, Leg):
            join_ps = what.join_ps(at_ps) + (self._loaded_ps(what.shape) if self._cores else 0)
            self._wait(OperationFlows(op_id, what.shape, what.cap, what.work, join_ps))
            return
        self.trains[op_id] = what
        self._proceed(what)

    def _loaded_ps(self, shape: Shape) -> int:
        """What the traffic of the memories it crosses adds to its latency now."""
        added = 0.0
        for core in self._cores:
            if core.core in shape.weights and core.rises:
                read, write = self._rate(core.read), self._rate(core.write)
                if read + write:
                    added = max(added, core.rises.added_ns(read / (read + write), read + write))
        return round(added * PS_PER_NS)

    def _rate(self, link: int) -> float:
        """Bytes/s that move over a link."""
        return math.fsum(
            flows.rate * flows.shape.weights[link] for flows in self.moving.values() if link in flows.shape.weights
        )

    def clone(self) -> Flows:
        """A copy that can be played on without touching this one."""
        twin = Flows(self._full, self._cores)
        twin._capacity, twin._slowed, twin.slows = self._capacity, self._slowed, dict(self.slows)
        twin.trains = {op_id: train.twin() for op_id, train in self.trains.items()}
        twin.alone = {op_id: twin.trains[op_id] for op_id in self.alone}
        twin.arriving = [
            (at, op_id, what.twin() if isinstance(what, Train) else what) for at, op_id, what in self.arriving
        ]

        def twin_of(b: OperationFlows) -> OperationFlows:
            train = None if b.train is None else twin.trains[b.op_id]
            return OperationFlows(b.op_id, b.shape, b.cap, b.left, b.join_ps, train, b.rate, b.since_ps, b.finish_ps)

        twin.joining = [twin_of(flows) for flows in self.joining]
        twin.moving = {op_id: twin_of(flows) for op_id, flows in self.moving.items()}
        return twin

    def sure_end_ps(self) -> int | None:
        """When the next operation ends, if that is plain: no one meets anyone before. Else None."""
        if self.arriving:
            return None
        end: int | None = None
        unsure: int | None = None  # from then on anything may happen
        for flows in self.moving.values():
            if flows.train is None:
                end = flows.finish_ps if end is None else min(end, flows.finish_ps)
            else:
                unsure = flows.finish_ps if unsure is None else min(unsure, flows.finish_ps)
        for train in self.alone.values():
            end = train.finish_ps if end is None else min(end, train.finish_ps)
        for flows in self.joining:
            if end is not None and flows.join_ps > end:
                break
            if flows.train is None and self._nobody_near(flows.shape.bits, flows):
                finish = flows.join_ps + duration_ps(flows.left, flows.cap)  # all its links are at their full rate
                end = finish if end is None else min(end, finish)
            else:
                unsure = flows.join_ps if unsure is None else min(unsure, flows.join_ps)
                break
        return end if end is not None and (unsure is None or end < unsure) else None

    def _nobody_near(self, bits: int, but: OperationFlows | Train) -> bool:
        """Whether none of these links is slow, and nobody but that one moves over them, is about to, or comes over them
        in a train."""
        return not (
            bits & self._slowed
            or any(flows.shape.bits & bits for flows in self.moving.values())
            or any(train.bits & bits for train in self.trains.values() if train is not but)
            or any(flows.shape.bits & bits for flows in self.joining if flows is not but)
        )

    @property
    def idle(self) -> bool:
        """Whether nothing is in progress."""
        return not (self.arriving or self.joining or self.moving or self.alone)

    def at_full_rate(self, shape: Shape) -> bool:
        """Whether none of its links is slow."""
        return not self._slowed & shape.bits

    def next_ps(self) -> int | None:
        """The next change, None if nothing is in progress. Nothing ends before it."""
        soonest = self.joining[0].join_ps if self.joining else None
        if self.arriving and (soonest is None or self.arriving[0][0] < soonest):
            soonest = self.arriving[0][0]
        for going in (self.moving, self.alone):
            for one in going.values():
                if soonest is None or one.finish_ps < soonest:
                    soonest = one.finish_ps
        return soonest

    def at(self, when: int) -> list[int]:
        """Everything that ends or begins to move at that time; returns the operations that are done."""
        done: list[int] = []
        while self._change(when, done):
            pass
        return sorted(done)

    def _change(self, when: int, done: list[int]) -> bool:
        """Whether more ends at that time, as somebody has a new rate who had all but nothing left."""
        ended = [train.op_id for train in self.alone.values() if train.finish_ps == when]
        for op_id in ended:
            del self.alone[op_id], self.trains[op_id]
        done += ended
        touched: set[int] = set()
        going_on: list[Train] = []
        for flows in [flows for flows in self.moving.values() if flows.finish_ps == when]:
            touched |= self._stop(flows)
            if flows.train is None:
                done.append(flows.op_id)
                continue
            flows.train.leg += 1
            flows.train.since_ps = when
            going_on.append(flows.train)
        touched &= self.moving.keys()
        while self.joining and self.joining[0].join_ps <= when:
            flows = self.joining.pop(0)
            bits = flows.shape.bits
            for op_id in sorted([op_id for op_id, train in self.alone.items() if train.bits & bits]):
                touched |= self._play_out(self.alone.pop(op_id), when)
            touched |= self._start(flows, when)
        for train in going_on:
            if train.leg == train.total:
                del self.trains[train.op_id]
                done.append(train.op_id)
            else:
                self._proceed(train)
        again = self._share(touched, when) if touched else False
        while self.arriving and self.arriving[0][0] <= when:
            at_ps, op_id, what = self.arriving.pop(0)
            if isinstance(what, Slow):
                again |= self._slow(what, when)
                done.append(op_id)
            else:
                self._begin(op_id, at_ps, what)
        return again

    def _slow(self, slow: Slow, when: int) -> bool:
        """From now on; whoever moves over those links has another rate. Whether one of them ends at once."""
        self.slows[slow.key] = slow
        self._hold()
        touched = self._over(slow.bits)
        for op_id in [op_id for op_id, train in self.alone.items() if train.bits & slow.bits]:
            touched |= self._play_out(self.alone.pop(op_id), when)
        return self._share(touched, when) if touched else False

    def _hold(self) -> None:
        """What is slow is so; only what is not at its full rate is kept."""
        self.slows = {key: slow for key, slow in self.slows.items() if slow.millionths != MILLION}
        self._slowed = reduce(or_, [slow.bits for slow in self.slows.values()], 0)
        self._capacity = what_is_left(self._full, self.slows.values()) if self.slows else self._full

    def _wait(self, flows: OperationFlows) -> None:
        insort(self.joining, flows, key=lambda b: (b.join_ps, b.op_id))

    def _start(self, flows: OperationFlows, when: int) -> set[int]:
        """It begins to move; returns it and whoever it meets."""
        flows.since_ps = when
        self.moving[flows.op_id] = flows
        return self._over(flows.shape.bits)

    def _stop(self, flows: OperationFlows) -> set[int]:
        """It has ended; returns whoever it leaves room to."""
        del self.moving[flows.op_id]
        return self._over(flows.shape.bits)

    def _over(self, bits: int) -> set[int]:
        """Who moves over one of these links."""
        return {op_id for op_id, flows in self.moving.items() if flows.shape.bits & bits}

    # Trains -------------------------------------------------------------------------------------

    def _proceed(self, train: Train) -> None:
        """The next leg: by arithmetic if nobody is near, else as flows."""
        if self._nobody_near(train.bits, train):
            train.finish_ps = train.alone_until()
            self.alone[train.op_id] = train
        else:
            self._wait(self._flows_of(train))

    def _flows_of(self, train: Train) -> OperationFlows:
        leg = train.now
        return OperationFlows(train.op_id, leg.shape, leg.cap, leg.work, leg.join_ps(train.since_ps), train)

    def _play_out(self, train: Train, when: int) -> set[int]:
        """It is no longer alone: put it where it stands; returns whoever its flows touch."""
        train.move_to(when)
        flows = self._flows_of(train)
        if flows.join_ps >= when:
            self._wait(flows)
            return set()
        self._start(flows, flows.join_ps)
        flows.rate = flows.cap
        return {flows.op_id}

    # Sharing ------------------------------------------------------------------------------------

    def _share(self, touched: set[int], when: int) -> bool:
        """New rates for whoever shares a link, directly or through others, with what changed. Whether one of them ends
        at once."""
        group = self._reached(touched)
        for flows in group:
            flows.left -= flows.rate * (when - flows.since_ps) / PS_PER_S
            flows.since_ps = when
        if len(group) == 1 and self.at_full_rate(group[0].shape):
            group[0].rate = group[0].cap
        else:
            rates = fair_rates([b.shape.weights for b in group], [b.cap for b in group], self._capacity)
            for flows, rate in zip(group, rates, strict=True):
                flows.rate = rate
        for flows in group:
            flows.finish_ps = min(when + duration_ps(flows.left, flows.rate), NEVER)
        return when in [flows.finish_ps for flows in group]

    def _reached(self, touched: set[int]) -> list[OperationFlows]:
        """These, and all who share a link with them directly or through others, by operation."""
        if len(self.moving) == len(touched):
            return [self.moving[op_id] for op_id in sorted(touched)]
        bits, more = 0, reduce(or_, [self.moving[op_id].shape.bits for op_id in touched])
        while bits != more:
            bits = more
            more = reduce(or_, [flows.shape.bits for flows in self.moving.values() if flows.shape.bits & bits])
        return [self.moving[op_id] for op_id in sorted(self._over(bits))]

    # Saving and restoring -------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        def row(b: OperationFlows) -> list[Any]:
            return [b.op_id, b.join_ps, b.left, b.rate, b.since_ps, b.finish_ps]

        return {
            "slowed": [[slow.key, slow.millionths] for slow in self.slows.values()],
            "arriving": [[at_ps, op_id] for at_ps, op_id, _ in self.arriving],
            "joining": [row(b) for b in self.joining],
            "moving": [row(b) for b in self.moving.values()],
            "trains": [
                [t.op_id, t.at_ps, t.leg, t.since_ps, t.finish_ps, t.op_id in self.alone] for t in self.trains.values()
            ],
        }

    def restore(
        self,
        state: dict[str, Any],
        legs: Mapping[int, Sequence[Leg]],
        repeats: Mapping[int, int],
        coming: Mapping[int, Slow],
        links: Mapping[int, frozenset[int]],
    ) -> None:
        """``legs`` of every operation in progress, how often trains repeat theirs; what will slow down links by its
        operation, and the ``links`` of what does by its key."""
        self.slows = {key: Slow(key, links[key], millionths) for key, millionths in state["slowed"]}
        self._hold()
        for at_ps, op_id in state["arriving"]:
            repeat = repeats.get(op_id)
            what = Train(op_id, at_ps, legs[op_id], repeat) if repeat else coming.get(op_id) or legs[op_id][0]
            self.arriving.append((at_ps, op_id, what))
        for op_id, at_ps, leg, since_ps, finish_ps, alone in state["trains"]:
            train = self.trains[op_id] = Train(op_id, at_ps, legs[op_id], repeats[op_id])
            train.leg, train.since_ps, train.finish_ps = leg, since_ps, finish_ps
            if alone:
                self.alone[op_id] = train

        def read(row: list[Any]) -> OperationFlows:
            op_id, join_ps, left, rate, since_ps, finish_ps = row
            whose = self.trains.get(op_id)
            leg = whose.now if whose else legs[op_id][0]
            return OperationFlows(
                op_id, leg.shape, leg.cap, float(left), join_ps, whose, float(rate), since_ps, finish_ps
            )

        self.joining = [read(row) for row in state["joining"]]
        for flows in map(read, state["moving"]):
            self.moving[flows.op_id] = flows

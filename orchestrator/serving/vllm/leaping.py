"""Several steps of vLLM's scheduler at once: those in which every running sequence decodes, and nobody comes or goes.

What they do is what `Scheduler.schedule`, `settle` and `finish` would: blocks are handed out, and named, in the same
order. All else follows from the number of the step (`Decoders`).
"""

from __future__ import annotations

from ..interface import Leapt
from ..kv.cache import KvCache
from .decoders import Decoders
from .lanes import Lane, VllmStep
from .request_state import VllmRequestState
from .scheduler import Scheduler

Filled = list[tuple[VllmRequestState, int, int]]

MANY = 64  # sequences from which on blocks are handed out together: four at a block's edge in a step


def certain_steps(scheduler: Scheduler, flight: VllmStep, most: int) -> int:
    """For how many of so many steps after the one in flight all is certain, if nobody from outside interferes."""
    if len(scheduler.lanes) > 1 or type(scheduler.cache) is not KvCache:  # others give blocks back on the way
        return 0
    lane, decoders, config = flight.lane, flight.lane.decoders, scheduler.config
    if (
        scheduler.prefilling
        or scheduler.skipped
        or flight.first
        or flight.ended
        or flight.handed
        or lane.chunks
        or lane.landing
    ):
        return 0
    places = len(scheduler.running) < config.max_num_seqs
    if decoders.count > config.max_num_batched_tokens or (
        places and (scheduler.waiting or scheduler.remote_kvs.any_here)
    ):
        return 0
    if scheduler.fences:  # blocks are about to be free
        return 0
    steady, free = decoders.steady(most), scheduler.pool.free
    if free >= decoders.count * (1 + steady // decoders.block_size):  # as many as they can begin
        return steady
    for step in range(steady):
        free -= decoders.beginning(step + 1)
        if free < 0:
            return step
    return steady


def leap(scheduler: Scheduler, flight: VllmStep, upcoming: VllmStep | None, steps: int) -> Leapt:
    """So many steps end and as many begin: from the one in flight on, and ``upcoming`` after it with asynchronous
    scheduling. They must be certain."""
    lane, cache = flight.lane, scheduler.cache
    ended, scheduled = flight.filled, upcoming.filled if upcoming else []
    used: list[int] = []
    cached: list[int] = []
    edges: dict[int, Edge] = {}
    for _ in range(steps):
        for sequence, computed, _ in ended:
            cache.cache_blocks(sequence, computed)
        used.append(scheduler.pool.used)
        cached.append(scheduler.pool.idle_cached)
        lane.decoders.step += 1
        grown = _grow(scheduler, lane, edges)
        ended, scheduled = (scheduled, grown) if upcoming else ([], grown)
    if scheduler.fences is not None:
        scheduler.fences.pass_by(steps)
    batch = lane.batch()
    last = VllmStep(batch, flight.slot, lane=lane, filled=scheduled, life=flight.life)
    if upcoming is None:
        return Leapt(last, None, used, cached)
    before = VllmStep(batch.later(-1), flight.slot, batch.decodes, lane=lane, filled=ended, life=flight.life)
    return Leapt(before, last, used, cached)


class Edge:
    """Those who begin a block in the same steps of a leap, in the order of the running list.

    Attributes:
        lacks: whether each has no block for it; none has been looked at before the leap's first such step, and from
            then on each takes one at a time.
        named: those whose blocks can be found by their hashes.
    """

    __slots__ = ("lacks", "named", "sequences", "tables")

    def __init__(self, sequences: list[VllmRequestState]) -> None:
        self.sequences, self.lacks = sequences, False
        self.tables = [sequence.block_ids for sequence in sequences]
        self.named = [sequence for sequence in sequences if sequence.block_hashes]

    @classmethod
    def of(cls, decoders: Decoders, ahead: int, edges: dict[int, Edge]) -> Edge:
        """Of so many steps from this one."""
        place = (decoders.step + ahead) % decoders.block_size
        if place not in edges:
            edges[place] = cls(decoders.due(ahead))
        return edges[place]

    def lacking(self, step: int, size: int) -> list[list[int]]:
        """The tables that need one more block in that step."""
        if self.lacks:
            return self.tables
        found = [one.block_ids for one in self.sequences if len(one.block_ids) * size <= one.offset + step]
        self.lacks = len(found) == len(self.tables)
        return found


def _grow(scheduler: Scheduler, lane: Lane, edges: dict[int, Edge]) -> Filled:
    """Phase A where there are blocks for all and every one decodes (`Scheduler._grow_decoder`)."""
    decoders, pool = lane.decoders, scheduler.pool
    if decoders.count < MANY:
        return _grow_one_by_one(scheduler, lane)
    begin, end, step = Edge.of(decoders, 0, edges), Edge.of(decoders, 1, edges), decoders.step
    lacking = begin.lacking(step, scheduler.cache.block_size)
    if not pool.forgets_nothing(len(lacking)):  # one may take the block whose name another gives
        edges.clear()
        return _grow_one_by_one(scheduler, lane)
    for table, block in zip(lacking, pool.get_new_blocks(len(lacking)), strict=True):
        table.append(block)
    late = scheduler.config.async_scheduling
    for sequence in begin.named if late else end.named:
        scheduler.cache.cache_blocks(sequence, sequence.offset + step + (not late))
    context = step + 1
    return [(one, one.offset + context, one.num_preemptions) for one in end.named] if late else []


def _grow_one_by_one(scheduler: Scheduler, lane: Lane) -> Filled:
    """The same, each sequence after the one before it."""
    cache, decoders, running = scheduler.cache, lane.decoders, scheduler.running
    size, step, late = cache.block_size, decoders.step, scheduler.config.async_scheduling
    filled: Filled = []
    for order in sorted(set(decoders.at_block_edge())):
        sequence = running[order]
        context = sequence.offset + step
        if not context % size:
            if len(sequence.block_ids) * size <= context:
                cache.extend(sequence, context + 1)
            if late:
                cache.cache_blocks(sequence, context)
        if not (context + 1) % size:
            if late:
                filled.append((sequence, context + 1, sequence.num_preemptions))
            else:
                cache.cache_blocks(sequence, context + 1)
    return filled

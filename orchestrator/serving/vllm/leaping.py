"""Several steps of vLLM's scheduler at once: those in which every running sequence decodes, and nobody comes or goes.

What they do is what `Scheduler.schedule`, `settle` and `finish` would: blocks are handed out, and named, in the same
order. All else follows from the number of the step (`Decoders`).
"""

from __future__ import annotations

from ..interface import Leapt
from ..kv.cache import KvCache
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
    steady, free = decoders.steady(most), scheduler.pool.free
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
    for _ in range(steps):
        for sequence, computed, _ in ended:
            cache.cache_blocks(sequence, computed)
        used.append(scheduler.pool.used)
        cached.append(scheduler.pool.idle_cached)
        lane.decoders.step += 1
        ended, scheduled = (scheduled, _grow(scheduler, lane)) if upcoming else ([], _grow(scheduler, lane))
    batch = lane.batch()
    last = VllmStep(batch, flight.slot, lane=lane, filled=scheduled, life=flight.life)
    if upcoming is None:
        return Leapt(last, None, used, cached)
    before = VllmStep(batch.later(-1), flight.slot, batch.decodes, lane=lane, filled=ended, life=flight.life)
    return Leapt(before, last, used, cached)


def _grow(scheduler: Scheduler, lane: Lane) -> Filled:
    """Phase A where there are blocks for all and every one decodes (`Scheduler._grow_decoder`)."""
    if lane.decoders.count < MANY:
        return _grow_one_by_one(scheduler, lane)
    begin, step, size = lane.decoders.due(0), lane.decoders.step, scheduler.cache.block_size
    lacking = [sequence for sequence in begin if len(sequence.block_ids) * size <= sequence.offset + step]
    if not scheduler.pool.forgets_nothing(len(lacking)):  # one may take the block whose name another gives
        return _grow_one_by_one(scheduler, lane)
    for sequence, block in zip(lacking, scheduler.pool.get_new_blocks(len(lacking)), strict=True):
        sequence.block_ids.append(block)
    end, late = lane.decoders.due(1), scheduler.config.async_scheduling
    for sequence in begin if late else end:
        if sequence.block_hashes:
            scheduler.cache.cache_blocks(sequence, sequence.offset + step + (not late))
    context = step + 1
    return [(one, one.offset + context, one.num_preemptions) for one in end if one.block_hashes] if late else []


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

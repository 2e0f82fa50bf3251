"""vLLM's scheduler with a connector that keeps K and V off the device: its offloading connector, or LMCache's.

`v1/core/sched/scheduler.py`, schedule, and `distributed/kv_transfer/kv_connector/v1/offloading/scheduler.py`, 0.19:
what the prefix cache lacks may be recalled. Asynchronously: the request has blocks and waits (WAITING_FOR_REMOTE_KVS),
and when its K and V are there it is looked at before all that never waited. Within a step: it is computed at once, and
the step waits.
"""

from __future__ import annotations

from collections import deque

from ..kv.cache import Hit
from ..offloading import RecallingConnector
from .admission import fitting
from .lanes import VllmStep
from .request_state import VllmRequestState
from .scheduler import Scheduler


class RecallingScheduler(Scheduler):
    """As `Scheduler`; `attach` gives it its connector, before anything is scheduled."""

    connector: RecallingConnector

    def attach(self, connector: RecallingConnector) -> None:
        self.connector = self.remote_kvs.connector = connector
        self._leaving_blocks: dict[int, list[int]] = {}  # by request: it has ended, and they are still copied from
        self._copied: set[int] = set()  # orders of the handed over whose blocks are copied from, too
        self._full: list[tuple[VllmRequestState, int]] = []  # decoders that fill a block in the step put together
        self._again: list[VllmRequestState] = []  # whose blocks found no room
        if connector.watches_evictions:
            self.pool.evicted = connector.evicted

    def schedule(self, now_ps: int) -> VllmStep | None:
        self._full.clear()
        self._first_order = self._order
        step = super().schedule(now_ps)
        if step is not None:
            rows = self._computed(step) if self.connector.keeps_computed else []
            self._again = [sequence for sequence, tokens in rows if not self.connector.computed(sequence, tokens)]
            step.moves = self.connector.moves()
        return step

    def _computed(self, step: VllmStep) -> list[tuple[VllmRequestState, int]]:
        """Who has how many tokens with the step: who is new, then the running in their order, then the resumed."""
        rows: list[tuple[int, int, VllmRequestState, int]] = []
        for sequence, tokens in self._full:
            if sequence in step.lane.decoders:
                rows.append((1, sequence.order, sequence, tokens))
        filled = {sequence.order for _, _, sequence, _ in rows}
        for sequence in self._again:
            if sequence in step.lane.decoders and sequence.order not in filled:
                rows.append((1, sequence.order, sequence, self._known_tokens(sequence)))
        for chunk in step.lane.chunks:
            begins = chunk.state.order >= self._first_order
            kind = 1 if not begins else 2 if chunk.state.num_preemptions else 0
            rows.append((kind, chunk.state.order, chunk.state, chunk.end))
        return [(sequence, tokens) for _, _, sequence, tokens in sorted(rows, key=lambda row: row[:2])]

    def _grow_decoder(self, sequence: VllmRequestState) -> bool:
        """A block is offered when the ids of all its tokens are known: see `Scheduler._grow_decoder`."""
        grown = super()._grow_decoder(sequence)
        if (
            grown
            and self.connector.keeps_computed
            and not (known := self._known_tokens(sequence)) % self.config.block_size
        ):
            self._full.append((sequence, known))
        return grown

    def _known_tokens(self, sequence: VllmRequestState) -> int:
        """Of a decoder: computed with the step, and no more than have been sampled."""
        late = self.config.async_scheduling and sequence.order not in self._known
        return self._lane.decoders.context(sequence) + (0 if late else 1)

    def quiet(self, flight: VllmStep, steps: int) -> bool:
        """Whether nothing moves in so many decode steps after the one in flight: nothing is kept as it is computed, and
        there are blocks that nothing has to leave."""
        if self.connector.keeps_computed or self._leaving_blocks or flight.moves is not None:
            return False
        return self.pool.forgets_nothing(flight.lane.decoders.count * (steps // self.config.block_size + 2))

    # Phase B --------------------------------------------------------------------------------------

    def _admit(self, budget: int, now_ps: int) -> None:
        remote, rules = self.remote_kvs, self.rules
        skipped = deque(self.waiting.ordered(remote.sequences()) if len(remote) else ())
        passed_by: list[VllmRequestState] = []
        while (self.waiting or skipped) and budget > 0 and len(self.running) < self.config.max_num_seqs:
            if skipped and (rules.holders_first or not self.waiting.precedes(skipped[0])):
                sequence = skipped[0]
                if remote.moves(sequence):
                    skipped.popleft()
                    continue
                used = self._admit_one(sequence, budget, now_ps)
                if used is None:
                    break
                skipped.popleft()
            else:
                sequence = self.waiting.peek()
                used = self._admit_one(sequence, budget, now_ps)
                if used is None:
                    break
                self.waiting.pop_first()
                if not used and not remote.has(sequence):
                    passed_by.append(sequence)
            budget -= used
        for sequence in reversed(passed_by):
            self.waiting.prepend(sequence)

    def _reserved(self) -> int:
        """To those, too, whose K and V are on their way, or there."""
        if not self.rules.reserves:
            return 0
        held = [sequence for sequence in self.remote_kvs.sequences() if sequence.block_ids]
        return super()._reserved() + sum(self.cache.missing(sequence, sequence.num_tokens) for sequence in held)

    def _admit_one(self, sequence: VllmRequestState, budget: int, now_ps: int) -> int | None:
        """Start it, or have its K and V recalled: the tokens computed of it; None if there is no room, 0 also if it is
        to be looked at again."""
        remote = self.remote_kvs
        if sequence.num_in_flight:  # preempted, and part of its last life is still in a pipeline
            return 0 if self.rules.passes_by else None
        if remote.is_here(sequence):
            return self._resume(sequence, budget, now_ps)
        hit = self.cache.get_computed_blocks(sequence, sequence.num_tokens - 1)
        local = self.cache.hit_tokens(hit)
        more = self.connector.matched(sequence, local)
        if more is None:
            if not self.rules.passes_by:
                remote.hold(sequence)
            return 0
        if more and self.connector.asynchronous:
            if self.config.scheduler_reserve_full_isl and not self.cache.fits(sequence.num_tokens, hit):
                return None
            if not self.cache.fits(local + more, hit, self._reserved()):
                return None
            self.cache.allocate_slots(sequence, hit, local + more)
            sequence.num_computed_tokens = local + more
            self.counts.prefix_hit_tokens += local
            remote.hold(sequence)
            self.connector.recall(sequence, local, more)
            return 0
        sequence.num_computed_tokens = min(local + more, sequence.num_tokens - 1)
        tokens = fitting(self._now, self.cache, self.encoder, sequence, budget, hit)
        if not tokens and not self.rules.passes_by:
            return None
        if tokens:
            if (within := sequence.num_computed_tokens - local) > 0:
                self.connector.recall(sequence, local, within)
                self.counts.prefix_hit_tokens -= within
            remote.let_go(sequence)
            self._start(sequence, hit, tokens, now_ps)
        return tokens

    def _resume(self, sequence: VllmRequestState, budget: int, now_ps: int) -> int | None:
        """What it waited for is here, and can be found; it goes on from there."""
        self.cache.cache_blocks(sequence, sequence.num_computed_tokens)
        sequence.num_computed_tokens = min(sequence.num_computed_tokens, sequence.num_tokens - 1)
        held: Hit = [sequence.block_ids]
        tokens = fitting(self._now, self.cache, self.encoder, sequence, budget, held)
        if not tokens:
            return tokens if self.rules.passes_by else None
        self.remote_kvs.let_go(sequence)
        self.counts.prefix_hit_tokens -= sequence.num_computed_tokens  # counted when it began to wait
        self.cache.extend(sequence, sequence.num_computed_tokens + tokens)
        self._begin(sequence, tokens, now_ps)
        return tokens

    # Blocks that go -------------------------------------------------------------------------------

    def finish(self, done: VllmStep) -> None:
        if done.moves is not None:
            done.moves.computed()
        super().finish(done)
        for sequence in done.handed:
            if self.connector.ended(sequence):
                self._copied.add(sequence.order)
        self.connector.step_ended()

    def _free_ended(self, sequence: VllmRequestState) -> None:
        self._keep(sequence)
        super()._free_ended(sequence)

    def empty_step(self) -> bool:
        """There is nothing to compute: as a step without anybody in vLLM, after which blocks may be free. Whether any
        are."""
        before = self.pool.free
        self.connector.step_ended()
        return self.pool.free > before

    def _keep(self, sequence: VllmRequestState) -> None:
        """It has ended: blocks that are still copied from stay (vLLM's request_finished)."""
        if self.connector.ended(sequence):
            self._leaving_blocks[sequence.request.id] = sequence.block_ids
            sequence.block_ids = []

    def release(self, sequence: VllmRequestState) -> None:
        """Nothing is copied from the blocks of a request that has ended any more. Those of one that was handed over are
        free when that has been said twice: of the pools, and of the engine that decodes (vLLM's MultiConnector)."""
        if self.handed.get(sequence.order) is not sequence:
            self.pool.free_blocks(self._leaving_blocks.pop(sequence.request.id, []))
        elif sequence.order in self._copied:
            self._copied.remove(sequence.order)
        else:
            super().release(sequence)

    def abort(self, sequence: VllmRequestState) -> None:
        sequence.aborted = True
        if self.handed.get(sequence.order) is sequence:
            return  # it has ended here: its blocks are free when they have left
        if not self.remote_kvs.has(sequence):
            self._keep(sequence)
            super().abort(sequence)
            return
        if sequence.block_ids:
            super().abort(sequence)  # they are free when what is on its way to them is there
        else:  # it waits to be looked at again, and has nothing
            self.remote_kvs.let_go(sequence)
        self.connector.ended(sequence)

    def _preempt(self, sequence: VllmRequestState) -> None:
        self.connector.preempted(sequence)
        super()._preempt(sequence)

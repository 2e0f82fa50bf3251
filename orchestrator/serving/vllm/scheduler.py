"""The two-phase scheduler of vLLM V1 (0.19), one engine.

Phase A gives every running sequence its tokens, in order, preempting from the tail when blocks run out; phase B admits
from the head of the waiting queue and never preempts. One token budget serves prefill and decode; a long prompt is
computed in chunks; blocks are counted in whole.

The cost of a step must not depend on how many sequences run. Decoding sequences, nearly all of them, are moved together
by `Decoders`; only sequences that need a block, and those still computing their prompt, are looked at one by one. The
one case in which the budget cuts decoders off goes the long way (`_grow_in_order`).

Steps in flight (pipeline stages) are *lanes*: who has sent off a token waits for its lane, prompts may be in several.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice

from ..kv.cache import Hit
from .admission import fitting
from .config import SchedulerConfig
from .kept_images import KeptImages
from .lanes import Chunk, Lane, VllmStep, gather
from .request_state import VllmRequestState
from .sequences import Sequences
from .victims import come_last
from .victims import victim as choose_victim


class Scheduler(Sequences):
    """Puts steps together."""

    def schedule(self, now_ps: int) -> VllmStep | None:
        """Decide the next step, in an idle lane; None when there is nothing to do, or no lane is idle."""
        self._before = self._steps_before() if self.staggered else {}
        if (lane := gather(self.lanes)) is None:
            return None
        self._lane = lane
        self._now = self._config_now() if self.rules.lone_prompts_whole else self.config
        self._passed: set[int] = set()  # by order, who gets no token in this step
        self._filled, self._known = [], {sequence.order for sequence in self.skipped}
        self._known.update(order for order, step in self._before.items() if step.out)
        self.encoder.begin()
        for sequence in self.skipped:
            self._lane.decoders.join(sequence)
        self.skipped.clear()
        preempted_before = self.counts.preemptions
        self._lane.chunks.clear()
        budget = self._grow_running()
        if self.counts.preemptions == preempted_before:
            self._admit(budget, now_ps)
        if not self._lane.chunks and not self._lane.decoders.count:
            return None
        self._lane.in_flight = True
        if self.fences is not None:
            self.fences.begun(self._lane)
        batch = self.encoder.end(self._lane.batch(), [chunk.state for chunk in self._lane.chunks])
        step = VllmStep(batch, self.lanes.index(self._lane), lane=self._lane, filled=self._filled)
        if self.staggered:
            self._lane.latest = step
        if isinstance(self.encoder, KeptImages):
            step.pictured = self._pictured(self.encoder)
        return step

    def _pictured(self, images: KeptImages) -> list[tuple[VllmRequestState, int]]:
        """Counted on, the last token of a prompt counts when the token after it is out, and only then."""
        later = int(self.config.async_scheduling)
        chunks = [chunk.state for chunk in self._lane.chunks if chunk.state.request.images]
        decoding = [sequence for sequence in images.holders() if sequence in self._lane.decoders]
        rows = [(one, one.num_tokens - later) for one in chunks] + [(one, one.num_tokens) for one in decoding]
        return sorted(rows, key=lambda row: row[0].order)

    def _steps_before(self) -> dict[int, VllmStep]:
        """By order, whose last step it was in which the decoders of idle lanes were; empty where that is plain: it was
        that of the only one, and its tokens are not out."""
        idle = [(lane, lane.latest) for lane in self.lanes if not lane.in_flight and lane.latest is not None]
        if len(idle) == 1 and not idle[0][1].out:
            return {}
        return {sequence.order: step for lane, step in idle for sequence in lane.decoders.members()}

    def _config_now(self) -> SchedulerConfig:
        """Without the threshold where nobody else is held up."""
        return replace(self.config, long_prefill_token_threshold=0) if sum(self.load) <= 1 else self.config

    def _start_loaded(self, sequence: VllmRequestState) -> None:
        """Its K and V are here. It computes the last token of its prompt again, to sample the first
        (`v1/core/sched/scheduler.py`, _update_waiting_for_remote_kv), or decodes if that has come along."""
        sequence.remote = False  # if it is preempted it computes its prompt here
        self._run(sequence)
        if sequence.num_output_tokens:
            self._lane.decoders.join(sequence)
            self.cache.cache_blocks(sequence, sequence.num_computed_tokens + 1)
            return
        sequence.num_computed_tokens -= 1
        self.prefilling[sequence.order] = sequence
        self._add_chunk(sequence, 1)

    # Phase A ------------------------------------------------------------------------------------

    def _grow_running(self) -> int:
        """Tokens and blocks for the running, in order (blocks taken may be found by hash); the budget that is left."""
        decoders, budget = self._lane.decoders, self.config.max_num_batched_tokens
        if self.prefilling or decoders.count > budget:
            wanted = sum(self._now.wanted(sequence) for sequence in self.prefilling.values())
            short = decoders.count + wanted > budget
            if short and (decoders.count > budget or not come_last(self.prefilling, self.running)):
                return self._grow_in_order(budget)
        for order in sorted({*decoders.at_block_edge(), *self.prefilling}):
            sequence = self.running.get(order)
            if sequence is None or order in self._passed:
                continue  # preempted for a sequence before it
            if sequence in decoders:
                if not self._grow_decoder(sequence) and self._ends_with(order):
                    break
                continue
            tokens = min(self._now.wanted(sequence), budget - decoders.count - self._lane.chunk_tokens)
            tokens = self.encoder.reach(sequence, tokens)
            if tokens and not self._grow(sequence, tokens) and self._ends_with(order):
                break
        return budget - decoders.count - self._lane.chunk_tokens

    def _ends_with(self, order: int) -> bool:
        """That one has preempted itself, or nobody can be for it: whether nobody behind it gets a token in this
        step."""
        if order in self.running:
            self._stop_at(order)
            return True
        if self.rules.carries_on and self._victims:
            return False
        self._pass_over(order)
        return True

    def _pass_over(self, order: int, most: int | None = None) -> None:
        """So many behind that one get no token in this step; without a victim policy there is nobody behind."""
        for behind in islice([one for one in self.running if one > order] if self._victims else [], most):
            self._passed.add(behind)
            if (sequence := self.running[behind]) in self._lane.decoders:
                self._skip(sequence)

    def _stop_at(self, order: int) -> None:
        """From that one on nobody gets a token in this step."""
        for one, sequence in self.running.items():
            if one >= order and sequence in self._lane.decoders:
                self._skip(sequence)

    def _skip(self, sequence: VllmRequestState) -> None:
        """A decoder gets no token in this step."""
        if self.fences is not None:
            self.fences.left(sequence)
        self._lane.decoders.leave(sequence)
        self.skipped.append(sequence)

    def _grow_in_order(self, budget: int) -> int:
        """Phase A one sequence at a time, for when the budget does not reach every decoder."""
        decoders = self._lane.decoders
        left, grown = budget, []
        for sequence in list(self.running.values()):
            if sequence.order not in self.running or sequence.order in self._passed:
                continue
            preempted = self.counts.preemptions
            if sequence in decoders:
                if not left:
                    self._skip(sequence)
                    continue
                if not self._grow_decoder(sequence):
                    if self._ends_with(sequence.order):
                        break
                else:
                    grown.append(sequence)
                    left -= 1
            elif left and sequence.order in self.prefilling:
                tokens = self.encoder.reach(sequence, min(self._now.wanted(sequence), left))
                if not tokens or self._grow(sequence, tokens):
                    left -= tokens
                elif self._ends_with(sequence.order):
                    break
            if self._victims and self.counts.preemptions > preempted:  # one before it may have given its tokens back
                left = budget - self._lane.chunk_tokens - sum(one in decoders for one in grown)
        return left

    def _grow(self, sequence: VllmRequestState, tokens: int) -> bool:
        """Compute this many more tokens of a prompt; False if it had to preempt itself."""
        if fits := self._extend(sequence, sequence.num_computed_tokens, tokens):
            self._add_chunk(sequence, tokens)
        return fits

    def _extend(self, sequence: VllmRequestState, computed: int, tokens: int) -> bool:
        """Blocks for this many tokens after those computed; False if it had to preempt itself."""
        cache = self.cache
        if cache.partial:
            cache.remove_skipped_blocks(sequence, computed)
        if need := cache.missing(sequence, computed + tokens):
            if need > self.pool.free and not self._make_room(sequence, need):
                return False
            cache.extend(sequence, computed + tokens)
        return True

    def _add_chunk(self, sequence: VllmRequestState, tokens: int) -> None:
        self.encoder.take(sequence)
        sequence.num_computed_tokens += tokens
        self.cache.cache_blocks(sequence, sequence.num_computed_tokens)
        sequence.num_in_flight += 1
        end, last = sequence.num_computed_tokens, sequence.num_computed_tokens == sequence.num_tokens
        self._lane.chunks.append(Chunk(sequence, tokens, end, last, sequence.num_preemptions))

    def _grow_decoder(self, sequence: VllmRequestState) -> bool:
        """One more token: a block where one begins, a name where one ends; False if it preempted itself.

        A name takes the ids of all tokens, and with asynchronous scheduling that of the last is still on its way. The
        block is named with the token after it, or when its own is out, whichever comes first
        (`v1/core/kv_cache_manager.py`, allocate_slots; `v1/core/sched/async_scheduler.py`).
        """
        block_size, context = self.config.block_size, self._lane.decoders.context(sequence)
        begins, ends = not context % block_size, not (context + 1) % block_size
        if (begins or self.cache.partial) and not self._extend(sequence, context, 1):
            return False
        late = self.config.async_scheduling and sequence.order not in self._known
        if begins and late:
            self.cache.cache_blocks(sequence, context)
        if ends and late:
            self._filled.append((sequence, context + 1, sequence.num_preemptions))
        elif ends:
            self.cache.cache_blocks(sequence, context + 1)
        return True

    def _make_room(self, sequence: VllmRequestState, need: int) -> bool:
        """Preempt from the tail until ``need`` blocks are free; False if ``sequence`` itself went, or nobody may.

        vLLM counts places in its list: where one goes that is before it and has no token in this step, as many behind
        it are passed over (`v1/core/sched/scheduler.py`, schedule: ``req_index``).
        """
        moved = 0
        while self.pool.free < need:
            victim = choose_victim(self.running, self._leaving, self._victims)
            if self.fences is not None and self.fences.holds(victim):
                return False
            computed = victim in self._lane.decoders or any(chunk.state is victim for chunk in self._lane.chunks)
            moved += victim.order < sequence.order and not computed
            self._preempt(victim)
            if victim is sequence:
                return False
        if moved and not self.rules.carries_on:
            self._pass_over(sequence.order, moved)
        return True

    def _preempt(self, sequence: VllmRequestState) -> None:
        lane = self._stop_running(sequence)
        if lane is not None and lane.in_flight:
            lane.landing.append(sequence)
            sequence.num_in_flight += 1
        elif self.staggered:
            before = self._step_with(sequence, lane)
            if before is not None and not before.out:
                before.stale.append(sequence)
                sequence.num_in_flight += 1
        sequence.num_computed_tokens = 0
        sequence.num_preemptions += 1
        self.counts.preemptions += 1
        self.waiting.prepend(sequence)

    def _step_with(self, sequence: VllmRequestState, lane: Lane | None) -> VllmStep | None:
        """The last step that has its token: of a decoder of an idle ``lane``, or of one that has ended with it."""
        if lane is not None:
            return self._before.get(sequence.order, lane.latest)
        return next((one.latest for one in self.lanes if one.latest and sequence in one.latest.ended), None)

    # Phase B ------------------------------------------------------------------------------------

    def _admit(self, budget: int, now_ps: int) -> None:
        config, rules = self._now, self.rules
        loading = deque(self.waiting.ordered(self.remote_kvs.sequences()) if self.remote_kvs.any_here else ())
        passed_by: list[VllmRequestState] = []
        while (self.waiting or loading) and budget > 0 and len(self.running) < config.max_num_seqs:
            if loading and (rules.holders_first or not self.waiting.precedes(loading[0])):
                if self.remote_kvs.take(sequence := loading.popleft()):
                    self._start_loaded(sequence)
                    budget -= 1
                continue
            sequence = self.waiting.peek()
            if sequence.num_in_flight:  # preempted, and part of its last life is still in a pipeline
                if not rules.passes_by:
                    break
                passed_by.append(self.waiting.pop_first())
                continue
            if sequence.remote:
                if (hit_tokens := self.remote_kvs.reserve(sequence, self._reserved())) is None:
                    break
                self.counts.prefix_hit_tokens += hit_tokens
                self.waiting.pop_first()
                continue
            # One token is always left to compute.
            hit = self.cache.get_computed_blocks(sequence, sequence.num_tokens - 1)
            sequence.num_computed_tokens = self.cache.hit_tokens(hit)
            tokens = fitting(config, self.cache, self.encoder, sequence, budget, hit)
            if tokens is None or not (tokens or rules.passes_by):
                break
            self.waiting.pop_first()
            if not tokens:
                passed_by.append(sequence)
                continue
            self._start(sequence, hit, tokens, now_ps)
            budget -= tokens
        for sequence in reversed(passed_by):
            self.waiting.prepend(sequence)

    def _reserved(self) -> int:
        """Blocks that are left to the prompts that have begun."""
        if not self.rules.reserves:
            return 0
        return sum(self.cache.missing(sequence, sequence.num_tokens) for sequence in self.prefilling.values())

    def _start(self, sequence: VllmRequestState, hit: Hit, tokens: int, now_ps: int) -> None:
        self.cache.allocate_slots(sequence, hit, sequence.num_computed_tokens + tokens)
        self._begin(sequence, tokens, now_ps)

    def _begin(self, sequence: VllmRequestState, tokens: int, now_ps: int) -> None:
        """It has its blocks."""
        self.counts.prefix_hit_tokens += sequence.num_computed_tokens
        if sequence.num_preemptions:
            self.counts.recomputed_tokens += sequence.num_tokens - sequence.num_computed_tokens
        else:
            sequence.num_cached_tokens = sequence.num_computed_tokens
            sequence.scheduled_ps = now_ps
        self._run(sequence)
        self.prefilling[sequence.order] = sequence
        self._add_chunk(sequence, tokens)

    def _run(self, sequence: VllmRequestState) -> None:
        """Append to the running list."""
        self.counts.admissions += 1
        sequence.order = self._order
        self._order += 1
        self.running[sequence.order] = sequence

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
from collections.abc import Sequence
from itertools import islice

from ..interface import AdmissionPolicy, EngineCounts, VictimPolicy
from ..kv.cache import Hit
from ..kv.groups import KvGroup
from ..kv.hybrid import kv_cache
from .admission import fitting
from .config import SchedulerConfig
from .decoders import Decoders
from .encoder_cache import EncoderCache
from .lanes import Chunk, Lane, VllmStep, gather
from .request_state import VllmRequestState
from .victims import come_last
from .victims import victim as choose_victim
from .waiting_for_remote_kvs import WaitingForRemoteKvs
from .waiting_queue import ByKey, FirstCome, WaitingQueue


class Scheduler:
    """Waiting queue, running list and KV pool of one engine.

    ``hand_over``: requests leave with their first token, for another engine to decode; their blocks stay until
    :meth:`release`. ``admission`` orders the waiting (default: first come first served), ``victims`` chooses who is
    preempted (default: the last admitted), ``groups`` are the layers', ``encoder_tokens`` of images fit into a step.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        num_blocks: int,
        lanes: int = 1,
        first_log: int = 0,
        hand_over: bool = False,
        admission: AdmissionPolicy | None = None,
        victims: VictimPolicy | None = None,
        groups: Sequence[KvGroup] = (),
        encoder_tokens: int = 0,
    ) -> None:
        self.config = config
        self.cache = kv_cache(num_blocks, config.block_size, config.enable_prefix_caching, groups)
        self.pool = self.cache.pool
        self.encoder = EncoderCache(encoder_tokens)
        self.counts = EngineCounts()
        self.waiting: WaitingQueue = FirstCome() if admission is None else ByKey(admission)
        self._victims = victims
        self.running: dict[int, VllmRequestState] = {}  # by order, hence in order
        self.lanes = [Lane(Decoders(self.cache, first_log + i)) for i in range(lanes)]
        self.remote_kvs = WaitingForRemoteKvs(self.cache)
        self.handed: dict[int, VllmRequestState] = {}  # by order: prompt computed, blocks still held
        self._hand_over = hand_over
        self.prefilling: dict[int, VllmRequestState] = {}  # running, prompt not yet whole
        self.skipped: list[VllmRequestState] = []  # decoders without budget in an earlier step
        self._lane = self.lanes[0]
        self._order = 0
        self._leaving: set[int] = set()  # running, by order, whose prompt is computed for another engine
        self._filled: list[tuple[VllmRequestState, int, int]] = []  # of the step being put together
        self._known: set[int] = set()  # decoders, by order, whose last token is out though steps are in flight

    @property
    def load(self) -> tuple[int, int]:
        """(waiting, running) sequences."""
        return len(self.waiting) + len(self.remote_kvs), len(self.running)

    @property
    def unfinished_tokens(self) -> int:
        """Tokens of running sequences' prompts that no step computes yet."""
        return sum(sequence.num_tokens - sequence.num_computed_tokens for sequence in self.prefilling.values())

    def steady(self, most: int) -> int:
        """For how many steps after the one just scheduled its sequences stay the same, if nobody joins."""
        return self._lane.decoders.steady(most)

    def schedule(self, now_ps: int) -> VllmStep | None:
        """Decide the next step, in an idle lane; None when there is nothing to do, or no lane is idle."""
        if (lane := gather(self.lanes)) is None:
            return None
        self._lane = lane
        self._passed: set[int] = set()  # by order, who gets no token in this step
        self._filled, self._known = [], {sequence.order for sequence in self.skipped}
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
        batch = self.encoder.end(self._lane.batch(), [chunk.state for chunk in self._lane.chunks])
        return VllmStep(batch, self.lanes.index(self._lane), lane=self._lane, filled=self._filled)

    def settle(self, done: VllmStep) -> None:
        """Count on the tokens of a step, which may still be in flight, so that the next can be scheduled."""
        self._lane = current = done.lane
        decoders = current.decoders
        step, ended = decoders.step, decoders.ending()
        current.in_flight = False
        whole = current.first_tokens()
        done.tokens = decoders.count + len(whole) + len(current.landing)
        done.first = [*whole, *current.landing] if current.landing else whole
        decoders.step += 1
        handed: list[VllmRequestState] = []
        for sequence in ended:
            decoders.leave(sequence)
        for sequence in whole:
            del self.prefilling[sequence.order]
            self._produce(sequence, step)
            if self._hand_over and (sequence.remaining or self.remote_kvs.first_token_here):
                handed.append(sequence)
            elif not sequence.remaining:
                ended.append(sequence)
            else:
                decoders.join(sequence)
        for sequence in current.landing:
            sequence.num_in_flight -= 1
            self._produce(sequence, step)
            if not sequence.remaining:
                ended.append(sequence)
        current.landing.clear()
        ended.sort(key=lambda sequence: sequence.order)
        self._leaving.update(sequence.order for sequence in handed)
        done.ended, done.handed = ended, handed

    def finish(self, done: VllmStep) -> None:
        """A settled step's tokens are out: who ended gives its blocks back, whose prompt is whole is handed over."""
        for sequence, computed, life in done.filled:
            if sequence.num_preemptions == life and not sequence.aborted:
                self.cache.cache_blocks(sequence, computed)
        for sequence in done.handed:
            self._leaving.discard(sequence.order)
            del self.running[sequence.order]
            self.handed[sequence.order] = sequence
        for sequence in done.ended:
            if self.running.pop(sequence.order, None) is None and sequence in self.waiting:
                self.waiting.remove(sequence)  # preempted with its last token on its way
            self._free_ended(sequence)
            sequence.block_hashes = []

    def _free_ended(self, sequence: VllmRequestState) -> None:
        self.cache.free(sequence)

    def _produce(self, sequence: VllmRequestState, step: int) -> None:
        sequence.num_output_tokens += 1
        sequence.add_token_steps(self._lane.decoders.log, step, step + 1)

    def abort(self, sequence: VllmRequestState) -> None:
        """Drop one that waits, runs, or whose K and V come from or go to another engine."""
        sequence.aborted = True
        for lane in self.lanes:
            if sequence in lane.landing:
                lane.landing.remove(sequence)
        if self.remote_kvs.has(sequence):
            self.remote_kvs.drop(sequence)
        elif self.running.get(sequence.order) is sequence:
            self._leaving.discard(sequence.order)
            self._stop_running(sequence)
        elif sequence in self.waiting:
            self.encoder.release(sequence)
            self.waiting.remove(sequence)

    def _stop_running(self, sequence: VllmRequestState) -> Lane | None:
        """Take it from the running, its blocks back; returns the lane it was decoding in, if it was."""
        decoding = None
        self.encoder.release(sequence)
        if sequence.order in self.prefilling:
            del self.prefilling[sequence.order]
            if not self._lane.in_flight:  # a chunk that is in flight is computed, and counts for nobody
                self._lane.drop_chunks(sequence)
        elif sequence in self.skipped:
            self.skipped.remove(sequence)
        else:
            decoding = next((lane for lane in self.lanes if sequence in lane.decoders), None)
            if decoding is not None:
                decoding.decoders.leave(sequence)
        del self.running[sequence.order]
        self.cache.free(sequence)
        return decoding

    def release(self, sequence: VllmRequestState) -> None:
        """The K and V of a handed-over request have left: its blocks are free (and can still be hit)."""
        if self.handed.get(sequence.order) is sequence:  # else the engine has failed since
            self.cache.free(self.handed.pop(sequence.order))

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
            wanted = sum(self.config.wanted(sequence) for sequence in self.prefilling.values())
            short = decoders.count + wanted > budget
            if short and (decoders.count > budget or not come_last(self.prefilling, self.running)):
                return self._grow_in_order(budget)
        for order in sorted({*decoders.at_block_edge(), *self.prefilling}):
            sequence = self.running.get(order)
            if sequence is None or order in self._passed:
                continue  # preempted for a sequence before it
            if sequence in decoders:
                if not self._grow_decoder(sequence):
                    self._pass_over(order)
                    break
                continue
            tokens = min(self.config.wanted(sequence), budget - decoders.count - self._lane.chunk_tokens)
            tokens = self.encoder.reach(sequence, tokens)
            if tokens and not self._grow(sequence, tokens):
                self._pass_over(order)
                break
        return budget - decoders.count - self._lane.chunk_tokens

    def _pass_over(self, order: int, most: int | None = None) -> None:
        """So many behind that one get no token in this step; without a victim policy there is nobody behind."""
        for behind in islice([one for one in self.running if one > order] if self._victims else [], most):
            self._passed.add(behind)
            if (sequence := self.running[behind]) in self._lane.decoders:
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
                    decoders.leave(sequence)
                    self.skipped.append(sequence)
                    continue
                if not self._grow_decoder(sequence):
                    self._pass_over(sequence.order)
                    break
                grown.append(sequence)
                left -= 1
            elif left and sequence.order in self.prefilling:
                tokens = self.encoder.reach(sequence, min(self.config.wanted(sequence), left))
                if tokens and not self._grow(sequence, tokens):
                    self._pass_over(sequence.order)
                    break
                left -= tokens
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
        """Preempt from the tail until ``need`` blocks are free; False if ``sequence`` itself went.

        vLLM counts places in its list: where one goes that is before it and has no token in this step, as many behind
        it are passed over (`v1/core/sched/scheduler.py`, schedule: ``req_index``).
        """
        moved = 0
        while self.pool.free < need:
            victim = choose_victim(self.running, self._leaving, self._victims)
            computed = victim in self._lane.decoders or any(chunk.state is victim for chunk in self._lane.chunks)
            moved += victim.order < sequence.order and not computed
            self._preempt(victim)
            if victim is sequence:
                return False
        if moved:
            self._pass_over(sequence.order, moved)
        return True

    def _preempt(self, sequence: VllmRequestState) -> None:
        lane = self._stop_running(sequence)
        if lane is not None and lane.in_flight:
            lane.landing.append(sequence)
            sequence.num_in_flight += 1
        sequence.num_computed_tokens = 0
        sequence.num_preemptions += 1
        self.counts.preemptions += 1
        self.waiting.prepend(sequence)

    # Phase B ------------------------------------------------------------------------------------

    def _admit(self, budget: int, now_ps: int) -> None:
        config = self.config
        loading = deque(self.waiting.ordered(self.remote_kvs.sequences()) if self.remote_kvs.any_here else ())
        while (self.waiting or loading) and budget > 0 and len(self.running) < config.max_num_seqs:
            if loading and not self.waiting.precedes(loading[0]):
                if self.remote_kvs.take(sequence := loading.popleft()):
                    self._start_loaded(sequence)
                    budget -= 1
                continue
            sequence = self.waiting.peek()
            if sequence.num_in_flight:  # preempted, and part of its last life is still in a pipeline
                break
            if sequence.remote:
                if (hit_tokens := self.remote_kvs.reserve(sequence)) is None:
                    break
                self.counts.prefix_hit_tokens += hit_tokens
                self.waiting.pop_first()
                continue
            # One token is always left to compute.
            hit = self.cache.get_computed_blocks(sequence, sequence.num_tokens - 1)
            sequence.num_computed_tokens = self.cache.hit_tokens(hit)
            if (tokens := fitting(config, self.cache, self.encoder, sequence, budget, hit)) is None:
                break
            self.waiting.pop_first()
            self._start(sequence, hit, tokens, now_ps)
            budget -= tokens

    def _start(self, sequence: VllmRequestState, hit: Hit, tokens: int, now_ps: int) -> None:
        self.cache.allocate_slots(sequence, hit, sequence.num_computed_tokens + tokens)
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

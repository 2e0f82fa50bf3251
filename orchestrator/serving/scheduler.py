"""The two-phase scheduler of vLLM V1 (0.19), one instance.

Phase A gives every running sequence its tokens, in order, preempting from the tail when blocks run
out; phase B admits from the head of the waiting queue and never preempts. One token budget serves
prefill and decode; a long prompt is computed in chunks; blocks are counted in whole.

The cost of a step must not depend on how many sequences run. Decoding sequences, nearly all of
them, are moved together by `Decoders`; only sequences that need a block, and those still computing
their prompt, are looked at one by one. The one case in which the budget cuts decoders off goes the
long way (`_grow_in_order`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice

from .batch import Batch
from .decoders import Decoders
from .kv.hashing import block_names
from .kv.pool import BlockPool
from .sequence import Sequence


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """vLLM's scheduler flags, by their names there."""

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    long_prefill_token_threshold: int = 0  # 0 = no limit
    block_size: int = 16
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = True
    scheduler_reserve_full_isl: bool = True


@dataclass(slots=True)
class SchedulerCounts:
    """Totals of a run."""

    preemptions: int = 0
    recomputed_tokens: int = 0
    prefix_hit_tokens: int = 0
    admissions: int = 0


class Scheduler:
    """Waiting queue, running list and KV pool of one instance."""

    def __init__(self, config: SchedulerConfig, num_blocks: int) -> None:
        self.config = config
        self.pool = BlockPool(num_blocks)
        self.counts = SchedulerCounts()
        self.waiting: deque[Sequence] = deque()
        self.running: dict[int, Sequence] = {}  # by order, hence in order
        self.decoders = Decoders(config.block_size)
        self._prefilling: dict[int, Sequence] = {}  # running, prompt not yet whole
        self._chunks: list[tuple[Sequence, int]] = []  # of the step in flight
        self._skipped: list[Sequence] = []  # decoders without budget in the step in flight
        self._order = 0
        self.last_tokens = 0  # given out by the last complete()

    @property
    def load(self) -> tuple[int, int]:
        """(waiting, running) sequences."""
        return len(self.waiting), len(self.running)

    def add(self, sequence: Sequence) -> None:
        """Queue a new arrival."""
        self.waiting.append(sequence)

    def schedule(self, now_ps: int) -> Batch | None:
        """Decide the next step; None when there is nothing to do. Ends with :meth:`complete`."""
        preempted_before = self.counts.preemptions
        self._chunks.clear()
        budget = self._grow_running()
        if self.counts.preemptions == preempted_before:
            self._admit(budget, now_ps)
        if not self._chunks and not self.decoders.count:
            return None
        return self._batch()

    def complete(self, now_ps: int) -> list[Sequence]:
        """The step's tokens are out: returns the sequences that ended, their blocks given back."""
        step = self.decoders.step
        ended = self.decoders.ending()
        first_tokens = []
        for sequence, _ in self._chunks:
            if sequence.computed == sequence.reach:
                first_tokens.append(sequence)
        self.last_tokens = self.decoders.count + len(first_tokens)
        self.decoders.step += 1
        for sequence in ended:
            self.decoders.leave(sequence)
        for sequence in first_tokens:
            del self._prefilling[sequence.order]
            sequence.produced += 1
            sequence.add_token_steps(step, step + 1)
            if sequence.first_token_ps < 0:
                sequence.first_token_ps = now_ps
            if sequence.remaining:
                self.decoders.join(sequence)
            else:
                ended.append(sequence)
        for sequence in self._skipped:
            self.decoders.join(sequence)
        self._skipped.clear()
        ended.sort(key=_order)
        for sequence in ended:
            sequence.end_ps = now_ps
            del self.running[sequence.order]
            self.pool.release(sequence.blocks)
            sequence.blocks = []
        return ended

    # Phase A ------------------------------------------------------------------------------------

    def _grow_running(self) -> int:
        """Tokens and blocks for the running; the budget that is left."""
        decoders, budget = self.decoders, self.config.max_num_batched_tokens
        if self._prefilling or decoders.count > budget:
            wanted = sum(self._wanted(sequence) for sequence in self._prefilling.values())
            short = decoders.count + wanted > budget
            if short and (decoders.count > budget or not self._prefills_come_last()):
                return self._grow_in_order(budget)
        # In running order, as a block taken may be the one an earlier sequence has just been found by.
        for order in sorted({*decoders.at_block_edge(), *self._prefilling}):
            sequence = self.running.get(order)
            if sequence is None:
                continue  # preempted for a sequence before it
            if sequence in decoders:
                if not self._grow_decoder(sequence):
                    break
                continue
            tokens = min(self._wanted(sequence), budget - decoders.count - self._chunk_tokens())
            if tokens and not self._grow(sequence, tokens):
                break
        return budget - decoders.count - self._chunk_tokens()

    def _grow_in_order(self, budget: int) -> int:
        """Phase A one sequence at a time, for when the budget does not reach every decoder."""
        decoders = self.decoders
        left = budget
        for sequence in list(self.running.values()):
            if sequence.order not in self.running:
                continue
            if sequence in decoders:
                if not left:
                    decoders.leave(sequence)
                    self._skipped.append(sequence)
                    continue
                if not self._grow_decoder(sequence):
                    break
                left -= 1
            elif left:
                tokens = min(self._wanted(sequence), left)
                if not self._grow(sequence, tokens):
                    break
                left -= tokens
        return left

    def _prefills_come_last(self) -> bool:
        tail = islice(reversed(self.running), len(self._prefilling))
        return all(order in self._prefilling for order in tail)

    def _wanted(self, sequence: Sequence) -> int:
        tokens = sequence.reach - sequence.computed
        threshold = self.config.long_prefill_token_threshold
        return min(tokens, threshold) if threshold else tokens

    def _chunk_tokens(self) -> int:
        return sum(tokens for _, tokens in self._chunks)

    def _grow(self, sequence: Sequence, tokens: int) -> bool:
        """Compute this many more tokens of a prompt; False if it had to preempt itself."""
        need = -(-(sequence.computed + tokens) // self.config.block_size) - len(sequence.blocks)
        if not self._make_room(sequence, need):
            return False
        sequence.blocks += self.pool.allocate(need)
        sequence.computed += tokens
        self._name_blocks(sequence, sequence.computed)
        self._chunks.append((sequence, tokens))
        return True

    def _grow_decoder(self, sequence: Sequence) -> bool:
        """One more token: a block where one begins, a name where one ends; False if it preempted itself."""
        block_size = self.config.block_size
        context = self.decoders.context(sequence)
        if context % block_size == 0:
            if not self.pool.free and not self._make_room(sequence, 1):
                return False
            sequence.blocks.append(self.pool.take())
        if (context + 1) % block_size == 0:
            self._name_blocks(sequence, context + 1)
        return True

    def _make_room(self, sequence: Sequence, need: int) -> bool:
        """Preempt from the tail until ``need`` blocks are free; False if ``sequence`` itself went."""
        while self.pool.free < need:
            victim = self.running[next(reversed(self.running))]
            self._preempt(victim)
            if victim is sequence:
                return False
        return True

    def _preempt(self, sequence: Sequence) -> None:
        if sequence in self.decoders:
            self.decoders.leave(sequence)
        else:
            del self._prefilling[sequence.order]
        del self.running[sequence.order]
        self.pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = sequence.named = 0
        sequence.preemptions += 1
        self.counts.preemptions += 1
        self.waiting.appendleft(sequence)

    # Phase B ------------------------------------------------------------------------------------

    def _admit(self, budget: int, now_ps: int) -> None:
        config, pool = self.config, self.pool
        while self.waiting and budget > 0 and len(self.running) < config.max_num_seqs:
            sequence = self.waiting[0]
            hit = self._cached_blocks(sequence)
            sequence.computed = len(hit) * config.block_size
            tokens = self._wanted(sequence)
            if not config.enable_chunked_prefill and tokens > budget:
                break
            tokens = min(tokens, budget)
            idle = pool.idle(hit)  # hits nobody holds leave the free queue, too
            whole = sequence.reach if config.scheduler_reserve_full_isl else sequence.computed + tokens
            if self._blocks_for(whole) - len(hit) + idle > pool.free:
                break
            self.waiting.popleft()
            self._start(sequence, hit, tokens, now_ps)
            budget -= tokens

    def _start(self, sequence: Sequence, hit: list[int], tokens: int, now_ps: int) -> None:
        self.pool.hold(hit)
        sequence.blocks = hit + self.pool.allocate(self._blocks_for(sequence.computed + tokens) - len(hit))
        sequence.named = len(hit)
        self.counts.admissions += 1
        self.counts.prefix_hit_tokens += sequence.computed
        if sequence.preemptions:
            self.counts.recomputed_tokens += sequence.reach - sequence.computed
        else:
            sequence.hit_tokens = sequence.computed
            sequence.scheduled_ps = now_ps
        sequence.order = self._order
        self._order += 1
        self.running[sequence.order] = self._prefilling[sequence.order] = sequence
        sequence.computed += tokens
        self._name_blocks(sequence, sequence.computed)
        self._chunks.append((sequence, tokens))

    def _blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.config.block_size)

    def _cached_blocks(self, sequence: Sequence) -> list[int]:
        """The longest cached beginning; at least one token is always left to compute."""
        ids = sequence.request.token_ids
        if not self.config.enable_prefix_caching or ids is None:
            return []
        if not sequence.chain:
            sequence.chain = block_names(ids, self.config.block_size)
        return self.pool.lookup(sequence.chain, (sequence.reach - 1) // self.config.block_size)

    def _name_blocks(self, sequence: Sequence, computed: int) -> None:
        """Make the blocks that ``computed`` tokens fill findable by their hashes, if these are known."""
        chain, blocks = sequence.chain, sequence.blocks
        full = min(computed // self.config.block_size, len(chain))
        for block in range(sequence.named, full):
            self.pool.remember(blocks[block], chain[block])
        sequence.named = max(sequence.named, full)

    # The step -----------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        decoders = self.decoders
        decodes, total = decoders.count, 0
        high = low = 0
        if decodes:
            total, high, low = decoders.context_sum, decoders.context_max, decoders.context_min
        prompts: list[int] = []
        for sequence, tokens in self._chunks:
            cached = sequence.computed - tokens
            if tokens > 1:
                prompts += (tokens, cached)
            else:  # the last token of a prompt is one query over its context, like a decode
                high, low = (max(high, cached), min(low, cached)) if decodes else (cached, cached)
                decodes, total = decodes + 1, total + cached
        return Batch(tuple(prompts), decodes, total, high, low)


def _order(sequence: Sequence) -> int:
    return sequence.order

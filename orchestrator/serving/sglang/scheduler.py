"""SGLang's scheduler (`managers/scheduler.py`, `managers/schedule_batch.py`, 0.5.5), one engine.

A batch is either prompts or decodes: whenever a prompt can be admitted it is computed first, and decoding waits. One
prompt at a time may be computed in chunks. Admission counts with a share of the output that running requests have
left (`new_token_ratio`); when that was too little, running requests are retracted and computed again later.

With overlap scheduling a batch is put together while the one before it runs, so who ends with that one is known only
afterwards: it is in the next batch once more, for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..batch import Batch
from ..interface import AdmissionPolicy, EngineCounts, PromptChunk, Step
from ..request_state import RequestState
from .memory import Memory
from .options import SglangOptions
from .prefill_adder import PrefillAdder, Verdict
from .request_state import SglangRequestState
from .running_batch import RunningBatch
from .schedule_policy import SchedulePolicy

# Of `environ.py`: the share that admission begins with, how low it falls, in how many decode steps, and how many
# steps' worth of tokens are counted for everybody when somebody has been retracted.
INIT_NEW_TOKEN_RATIO = 0.7
MIN_NEW_TOKEN_RATIO_FACTOR = 0.14
NEW_TOKEN_RATIO_DECAY_STEPS = 600
RETRACT_DECODE_STEPS = 20


@dataclass(slots=True)
class Entry:
    """A request in a batch of prompts: of its prompt ``tokens`` up to ``end``; ``partial``: more of it is to come.
    ``life`` tells whether it has been retracted since."""

    state: SglangRequestState
    life: int
    tokens: int = 1
    end: int = 0
    partial: bool = False

    def alive(self) -> bool:
        """Whether its token counts."""
        state = self.state
        return not (self.partial or state.done or state.aborted or state.num_preemptions != self.life)


@dataclass(slots=True)
class SglangStep(Step):
    """A batch. ``row`` is its place in the step log, ``life`` the engine's.

    Of prompts (``extend``) it has ``entries``; of decodes ``decoding``, its number among the decodes (``decode``), and
    those who have ended or been taken out since (``gone``), whose token counts for nobody.
    """

    entries: list[Entry] = field(default_factory=list)
    decoding: list[SglangRequestState] = field(default_factory=list)
    gone: list[SglangRequestState] = field(default_factory=list)
    extend: bool = False
    decode: int = 0
    row: int = 0
    life: int = 0

    def members(self) -> list[RequestState]:
        return [entry.state for entry in self.entries] if self.extend else list(self.decoding)

    def prompt_chunks(self) -> list[PromptChunk]:
        return [PromptChunk(entry.state, entry.tokens, entry.end) for entry in self.entries]


class SglangScheduler:
    """Waiting queue, running batch and memory of one engine."""

    def __init__(
        self,
        options: SglangOptions,
        num_pages: int,
        seed: int,
        log: int,
        overlap: bool,
        admission: AdmissionPolicy | None = None,
    ) -> None:
        self.options = options
        self.memory = Memory(num_pages, options.block_size, options.enable_prefix_caching)
        self.policy = SchedulePolicy(options.schedule_policy, self.memory, seed, admission)
        self.counts = EngineCounts()
        self.waiting: list[SglangRequestState] = []
        self.running = RunningBatch(log, options.block_size)
        self.chunked: SglangRequestState | None = None
        self.flying: list[SglangStep] = []  # not finished
        self.init_ratio = min(INIT_NEW_TOKEN_RATIO * options.schedule_conservativeness, 1.0)
        self.new_token_ratio = self.init_ratio
        self._log, self._overlap, self.rows = log, overlap, 0
        self._last: SglangStep | None = None  # the last batch, if it was of prompts that have not joined the running
        self._full = False  # nobody can be admitted until somebody leaves

    def schedule(self, now_ps: int) -> SglangStep | None:
        """The next batch; None if there is nothing to compute."""
        self._merge()
        step = self._prefill(now_ps) or self._decode()
        if step is None and not self.flying:
            self.new_token_ratio = self.init_ratio  # idle
            step = self._prefill(now_ps)  # SGLang's loop turns again: the last to run has left
        if step is None:
            return None
        self.rows += 1
        self.flying.append(step)
        self._last = step if step.extend else None
        return step

    def _merge(self) -> None:
        """Whose prompt is whole with the last batch decodes from now on."""
        if self.chunked is not None:
            self.memory.keep(self.chunked, self.chunked.prefix_len + self.chunked.extend_len)
        last, self._last = self._last, None
        if last is None:
            return
        joining = [e.state for e in last.entries if not (e.partial or e.state.done or e.state.aborted)]
        if len(joining) < len(last.entries):
            self._full = False
        if joining and not self.running:
            self._full = False  # the batch that joins is the running batch now, and has no mark of that sort
        for state in joining:
            self.running.join(state, token_on_its_way=last in self.flying)

    # Prompts --------------------------------------------------------------------------------------

    def _prefill(self, now_ps: int) -> SglangStep | None:
        options, most = self.options, self.options.max_num_seqs or 0
        if (self._full or not self.waiting) and self.chunked is None:
            return None
        if most <= len(self.running) and self.chunked is None:
            self._full = True
            return None
        self.policy.sort(self.waiting)
        adder = PrefillAdder(
            self.memory,
            self.running,
            self.new_token_ratio,
            options.max_prefill_tokens,
            options.chunked_prefill_size,
        )
        goes_on = self.chunked
        if goes_on is not None:
            goes_on.prefix_len += goes_on.extend_len
            goes_on.extend_len = goes_on.num_tokens - goes_on.prefix_len
            self.chunked = adder.add_chunked(goes_on)
            if not adder.batch:
                goes_on.extend_len = 0
        for state in self.waiting:
            if len(adder.batch) >= most - len(self.running):
                self._full = True
            if self._full:
                break
            self.memory.lookup(state)
            verdict = adder.add(state)
            if not adder.batch or adder.batch[-1] is not state:
                self.memory.forget(state)
            if verdict is not Verdict.CONTINUE:
                self._full = self._full or verdict is Verdict.NO_TOKEN
                break
        if not adder.batch:
            return None
        self.chunked = adder.chunked or self.chunked
        admitted = [state for state in adder.batch if state is not goes_on]
        del self.waiting[: len(admitted)]  # they were the first of it
        for state in admitted:
            self._admitted(state, now_ps)
        return self._extend(adder.batch)

    def _admitted(self, state: SglangRequestState, now_ps: int) -> None:
        self.counts.admissions += 1
        self.counts.prefix_hit_tokens += state.prefix_len
        if state.num_preemptions:
            self.counts.recomputed_tokens += state.num_tokens - state.prefix_len
        else:
            state.num_cached_tokens, state.scheduled_ps = state.prefix_len, now_ps

    def _extend(self, states: list[SglangRequestState]) -> SglangStep:
        """The batch of these prompts, with memory for it."""
        page = self.memory.page_size
        spare = (
            len(states) * page if page > 1 else 0
        )  # as if each needed a page more (`alloc_paged_token_slots_extend`)
        self.memory.make_room(sum(state.extend_len for state in states) + spare)
        entries: list[Entry] = []
        prompts: list[int] = []
        single: list[int] = []
        for state in states:
            self.memory.extend(state, state.extend_len)
            state.num_computed_tokens = end = state.prefix_len + state.extend_len
            partial = state is self.chunked
            entries.append(Entry(state, state.num_preemptions, state.extend_len, end, partial))
            if state.extend_len > 1:
                prompts += (state.extend_len, state.prefix_len)
            else:  # one query over what is cached, like a decode
                single.append(state.prefix_len)
        if self.memory.free_pages < 0:
            raise AssertionError(f"admission counted {-self.memory.free_pages} pages as free that are not")
        batch = Batch(tuple(prompts), len(single), sum(single), max(single, default=0), min(single, default=0))
        return SglangStep(batch, entries=entries, extend=True, row=self.rows)

    # Decodes --------------------------------------------------------------------------------------

    def _decode(self) -> SglangStep | None:
        running, memory = self.running, self.memory
        before = len(running)
        running.drop_ended()
        if not running:
            self._full = False
            return None
        if not self._room_for(running.states):
            self._retract()
        else:
            lowest = self.init_ratio * MIN_NEW_TOKEN_RATIO_FACTOR
            decay = (self.init_ratio - lowest) / NEW_TOKEN_RATIO_DECAY_STEPS
            self.new_token_ratio = max(self.new_token_ratio - decay, lowest)
        if len(running) < before:
            self._full = False
        memory.make_room(len(running) * memory.page_size)  # as if each needed a page
        new = running.pages_begun
        if memory.free_pages < new:
            if not self.flying:
                raise AssertionError(f"{new} pages were counted as free, {memory.free_pages} are")
            return None  # SGLang 0.5.5 dies; here what the step in flight computes for nothing is freed first
        memory.own += new
        batch = running.decode(self.rows)
        return SglangStep(batch, decoding=running.states[:], decode=running.scheduled, row=self.rows)

    def _room_for(self, states: list[SglangRequestState]) -> bool:
        """Whether one more token of each of these fits, after eviction (`check_decode_mem`).

        With overlap SGLang counts as if a token of each were on its way, which after a batch of prompts none is. Where
        its count is too low and what it evicts beyond is not enough, SGLang 0.5.5 dies; here somebody is retracted.
        """
        size = self.memory.page_size
        needed = counted = self.running.pages_begun
        if size > 1 and self._overlap and (not self.flying or self.flying[-1].extend):
            self.running.update_all()
            counted = sum(state.num_tokens % size == 0 for state in states)
        return self.memory.make_room(counted * size) and self.memory.free_tokens >= needed * size

    def _retract(self) -> None:
        """Take requests out until the others fit: those with the least output first, of these the longest prompt."""
        self.running.update_all()
        staying = sorted(
            self.running.states, key=lambda state: (state.num_output_tokens, -state.request.input_tokens), reverse=True
        )
        first = True
        while (first or not self._room_for(staying)) and len(staying) > 1:
            first = False
            state = staying.pop()
            self._leave(state, keep=False)
            self.memory.make_room(len(staying) * RETRACT_DECODE_STEPS)
            state.num_preemptions += 1
            state.num_computed_tokens = 0
            self.counts.preemptions += 1
            self.waiting.append(state)
        self.running.reorder(staying)
        decoded = sum(state.num_output_tokens for state in staying)
        most = sum(state.request.output_tokens for state in staying)
        self.new_token_ratio = min(1.0, (decoded + RETRACT_DECODE_STEPS * len(staying)) / (most + 1))

    def _leave(self, state: SglangRequestState, keep: bool) -> None:
        """It holds nothing any more; tokens of it that are on their way count for nobody."""
        for step in self.flying:
            if step.extend:
                step.tokens -= any(entry.state is state and entry.alive() for entry in step.entries)
            elif 0 <= state.joined < step.decode:
                step.gone.append(state)
                step.tokens -= 1
        self.running.leave(state)
        self.memory.release(state, max(state.num_tokens - 1, 0), keep)

    # Results --------------------------------------------------------------------------------------

    def settle(self, step: SglangStep) -> None:
        """How many tokens it gives; to whom is known when it is finished."""
        alive = sum(entry.alive() for entry in step.entries) if step.extend else len(step.decoding)
        step.tokens = alive - len(step.gone)

    def finish(self, step: SglangStep) -> None:
        """Deal with its tokens: who has all of his leaves his K and V to the tree."""
        self.flying.remove(step)
        if step.extend:
            self._finish_prompts(step)
            return
        for state in step.gone:
            self.memory.release_late(state)
        step.ended = self.running.finish(step.decoding)
        for state in step.ended:
            self._end(state)

    def _finish_prompts(self, step: SglangStep) -> None:
        first: list[RequestState] = []
        ended: list[RequestState] = []
        for entry in step.entries:
            state = entry.state
            if not entry.alive():
                self.memory.release_late(state)
                continue
            state.num_output_tokens += 1
            state.add_token_steps(self._log, step.row, step.row + 1)
            first.append(state)
            if state.remaining:
                self.memory.keep(state, entry.end)
            else:
                self._end(state)
                ended.append(state)
        step.first, step.ended = first, ended

    def _end(self, state: SglangRequestState) -> None:
        """Its last token is out."""
        state.done = True
        self._leave(state, keep=True)

    def abort(self, state: SglangRequestState) -> None:
        """Drop one that waits or runs."""
        if state in self.waiting:
            self.waiting.remove(state)
        else:
            self._leave(state, keep=False)
            self.running.drop_ended()
            if self.chunked is state:
                self.chunked = None
            self._full = False
        state.aborted = True

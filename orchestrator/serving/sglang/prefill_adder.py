"""Which waiting requests a prefill batch takes: `PrefillAdder` in SGLang's `managers/schedule_policy.py`, 0.5.5."""

from __future__ import annotations

from enum import Enum, auto

from .memory import Memory
from .request_state import SglangRequestState
from .running_batch import RunningBatch

#: longest output that an estimate counts with (`SGLANG_CLIP_MAX_NEW_TOKENS_ESTIMATION`)
CLIP_MAX_NEW_TOKENS = 4096
#: tokens a request that are kept for corner cases where outputs cannot end early
RESERVE_TOKENS = 1


class Verdict(Enum):
    """What adding a request says of the next one."""

    CONTINUE = auto()
    NO_TOKEN = auto()  # the KV cache is full
    OTHER = auto()  # the batch is


class PrefillAdder:
    """Budgets of one batch.

    Memory that running requests may still need is counted as a share ``new_token_ratio`` of the output they have left:
    most end before they have used what they may. ``input_tokens`` is `max_prefill_tokens`, ``chunk_tokens``
    `chunked_prefill_size` (None: no chunks).
    """

    def __init__(
        self,
        memory: Memory,
        running: RunningBatch,
        new_token_ratio: float,
        input_tokens: int,
        chunk_tokens: int | None,
    ) -> None:
        self._memory, self._running = memory, running
        self._input_tokens, self._chunk_tokens = input_tokens, chunk_tokens
        clip, ratio = CLIP_MAX_NEW_TOKENS, new_token_ratio
        self._reserved = sum([(left if left < clip else clip) * ratio for left in running.remaining()])
        self._taken = 0
        self._outlooks: list[tuple[float, int]] | None = None  # (tokens to come, held), soonest done first
        self.batch: list[SglangRequestState] = []
        self.chunked: SglangRequestState | None = None  # the one whose prompt does not fit whole

    @property
    def _rest(self) -> float:
        """Tokens free when everybody has used what is counted for him."""
        return self._memory.free_tokens - self._reserved

    def _verdict(self) -> Verdict:
        if self._rest <= 0 or self._memory.free_tokens - self._taken <= 0:
            return Verdict.NO_TOKEN
        if self._input_tokens <= 0 or (self._chunk_tokens is not None and self._chunk_tokens <= 0):
            return Verdict.OTHER
        return Verdict.CONTINUE

    def _take(self, tokens: int, new_tokens: int) -> None:
        tokens = self._memory.paged(tokens)
        self._reserved += tokens + new_tokens
        self._taken += tokens
        self._input_tokens -= tokens
        if self._chunk_tokens is not None:
            self._chunk_tokens -= tokens

    def add_chunked(self, state: SglangRequestState) -> SglangRequestState | None:
        """Go on with a prompt of which a part is computed; returns it if there is still more after that."""
        left = min(self._chunk_tokens or 0, int(self._rest))
        if left <= 0:
            return state
        truncated = state.extend_len > left
        state.extend_len = min(state.extend_len, left)
        self.batch.append(state)
        self._take(state.extend_len, 0 if truncated else min(state.request.output_tokens, CLIP_MAX_NEW_TOKENS))
        return state if truncated else None

    def add(self, state: SglangRequestState) -> Verdict:
        """Take one whose cached prefix has just been looked up, or say why not. Locks what it has hit."""
        if not self._memory.caching:
            return self._add_to_the_end(state)
        total = state.extend_len + min(max(state.remaining, 0), CLIP_MAX_NEW_TOKENS)
        tokens = self._memory.paged(state.extend_len)
        if total >= self._rest:
            return Verdict.NO_TOKEN
        if tokens >= self._input_tokens and self.batch:
            return Verdict.OTHER
        self._memory.lock(state)  # what it has hit can be evicted no more, so there may be too little left now
        if total >= self._rest:
            self._memory.unlock(state)
            return Verdict.NO_TOKEN
        verdict = self._cut(state, tokens)
        if verdict is not None:
            self._memory.unlock(state)
            return verdict
        return self._verdict()

    def _cut(self, state: SglangRequestState, tokens: int) -> Verdict | None:
        """Take it whole or in part; why not, if not."""
        if self._chunk_tokens is None or tokens <= self._chunk_tokens:
            self.batch.append(state)
            self._take(tokens, min(state.request.output_tokens, CLIP_MAX_NEW_TOKENS))
            return None
        part = self._memory.aligned(self._chunk_tokens)
        if part <= 0:
            return Verdict.OTHER
        state.extend_len = part
        self.batch.append(state)
        self.chunked = state
        self._take(part, 0)
        return None

    def _add_to_the_end(self, state: SglangRequestState) -> Verdict:
        """Without a prefix cache outputs are taken to have their full length, and memory is looked at until all have
        ended (`add_one_req_ignore_eos`)."""
        tokens = self._memory.paged(state.extend_len)
        now = self._memory.free_tokens - self._taken
        if tokens > min(now, self._rest):
            return Verdict.NO_TOKEN
        mine = self._outlook(state)
        if self._outlooks is None:
            self._running.update_all()
            everybody = [mine, *map(self._outlook, self._running.states), *map(self._outlook, self.batch)]
            self._outlooks = sorted((one for one in everybody if one[0] > 0), key=lambda one: one[0])
        elif mine[0] > 0:
            place = next((i for i, one in enumerate(self._outlooks) if mine[0] <= one[0]), len(self._outlooks) - 1)
            self._outlooks.insert(max(place, 0), mine)
        now, freed = now - tokens, 0
        for i, (left, held) in enumerate(self._outlooks):
            others = len(self._outlooks) - i
            if now + freed - left * others <= RESERVE_TOKENS * others:
                return Verdict.NO_TOKEN
            freed += held
        if self._chunk_tokens is None or state.extend_len <= self._chunk_tokens:
            self.batch.append(state)
            self._take(state.extend_len, min(state.request.output_tokens, CLIP_MAX_NEW_TOKENS))
        else:
            if self._chunk_tokens <= 0:
                return Verdict.OTHER
            state.extend_len = self._chunk_tokens
            self.batch.append(state)
            self.chunked = state
            self._take(state.extend_len, 0)
        return self._verdict()

    @staticmethod
    def _outlook(state: SglangRequestState) -> tuple[float, int]:
        return state.remaining, state.num_tokens

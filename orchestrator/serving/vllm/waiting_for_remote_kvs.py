"""Sequences whose prompt is computed on another engine: blocks reserved here, K and V on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..kv.cache import KvCache
from ..request_state import RequestState


class WaitingForRemoteKvs:
    """``on_reserved(sequence, tokens)`` is called when a sequence has its blocks; ``tokens`` are those
    the prefix cache lacks. ``ready`` may start to decode."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self.on_reserved: Callable[[RequestState, int], None] = lambda sequence, tokens: None
        self.ready: deque[RequestState] = deque()
        self._loading: dict[int, RequestState] = {}  # by request

    def __len__(self) -> int:
        return len(self._loading) + len(self.ready)

    def sequences(self) -> list[RequestState]:
        """Those whose K and V are on their way, or there."""
        return [*self._loading.values(), *self.ready]

    def has(self, sequence: RequestState) -> bool:
        return self._loading.get(sequence.request.id) is sequence or sequence in self.ready

    def reserve(self, sequence: RequestState) -> int | None:
        """Blocks for the prompt and the token after it: returns the tokens hit, None if there is no room."""
        inputs = sequence.request.input_tokens
        hit = self._cache.get_computed_blocks(sequence, inputs)
        if not self._cache.fits(inputs + 1, hit):
            return None
        self._cache.allocate_slots(sequence, hit, inputs + 1)
        sequence.num_computed_tokens = inputs
        hit_tokens = len(hit) * self._cache.block_size
        self._loading[sequence.request.id] = sequence
        self.on_reserved(sequence, inputs - hit_tokens)
        return hit_tokens

    def loaded(self, sequence: RequestState) -> None:
        """The K and V of a reserved sequence are here: it decodes from the next step on."""
        del self._loading[sequence.request.id]
        self._cache.cache_blocks(sequence, sequence.request.input_tokens)
        self.ready.append(sequence)

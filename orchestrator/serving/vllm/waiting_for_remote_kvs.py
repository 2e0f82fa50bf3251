"""Requests whose prompt is computed on another engine: blocks reserved here, K and V on their way."""

from __future__ import annotations

from collections import deque

from ..interface import KvConnector
from ..kv.cache import KvCache
from .request_state import VllmRequestState


class WaitingForRemoteKvs:
    """``connector`` is told when a request has its blocks. ``ready`` may start to decode."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self.connector: KvConnector | None = None
        self.ready: deque[VllmRequestState] = deque()
        self._loading: dict[int, VllmRequestState] = {}  # by request

    def __len__(self) -> int:
        return len(self._loading) + len(self.ready)

    def sequences(self) -> list[VllmRequestState]:
        """Those whose K and V are on their way, or there."""
        return [*self._loading.values(), *self.ready]

    def has(self, sequence: VllmRequestState) -> bool:
        return self._loading.get(sequence.request.id) is sequence or sequence in self.ready

    def reserve(self, sequence: VllmRequestState) -> int | None:
        """Blocks for the prompt and the token after it: returns the tokens hit, None if there is no room."""
        inputs = sequence.request.input_tokens
        hit = self._cache.get_computed_blocks(sequence, inputs)
        if not self._cache.fits(inputs + 1, hit):
            return None
        self._cache.allocate_slots(sequence, hit, inputs + 1)
        sequence.num_computed_tokens = inputs
        hit_tokens = len(hit[0]) * self._cache.block_size
        self._loading[sequence.request.id] = sequence
        if self.connector is not None:
            self.connector.reserved(sequence, inputs - hit_tokens)
        return hit_tokens

    def drop(self, sequence: VllmRequestState) -> None:
        """It was aborted. Blocks that its K and V are still being written to are free when these are here."""
        if sequence in self.ready:
            self.ready.remove(sequence)
            self._cache.free(sequence)

    def loaded(self, sequence: VllmRequestState) -> None:
        """The K and V of a reserved sequence are here: it decodes from the next step on."""
        del self._loading[sequence.request.id]
        if sequence.aborted:
            self._cache.free(sequence)
            return
        self._cache.cache_blocks(sequence, sequence.request.input_tokens)
        self.ready.append(sequence)

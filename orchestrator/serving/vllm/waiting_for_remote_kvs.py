"""Requests whose prompt is computed on another engine: blocks reserved here, K and V on their way."""

from __future__ import annotations

from ..interface import KvConnector
from ..kv.cache import KvCache
from .request_state import VllmRequestState


class WaitingForRemoteKvs:
    """Those that have blocks and no K and V yet (vLLM: ``skipped_waiting``), in the order they reserved.

    ``connector`` is told when a request has its blocks.
    """

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self.connector: KvConnector | None = None
        self._waiting: dict[int, VllmRequestState] = {}  # by request
        self._here: set[int] = set()  # of those, whose K and V have arrived
        self._dropped: list[VllmRequestState] = []  # aborted, their blocks still written to

    def __len__(self) -> int:
        return len(self._waiting)

    def sequences(self) -> list[VllmRequestState]:
        """Those whose K and V are on their way, or there."""
        return list(self._waiting.values())

    def still(self) -> list[VllmRequestState]:
        """Those for whom nothing moves: their K and V are there, or they are to be looked at again."""
        return [one for one in self._waiting.values() if not self.moves(one)]

    def has(self, sequence: VllmRequestState) -> bool:
        return self._waiting.get(sequence.request.id) is sequence

    def moves(self, sequence: VllmRequestState) -> bool:
        """Whether its K and V are on their way."""
        return self.has(sequence) and bool(sequence.block_ids) and not self.is_here(sequence)

    @property
    def any_here(self) -> bool:
        """Whether one of them can start."""
        return bool(self._here)

    @property
    def first_token_here(self) -> bool:
        """Whether the engine that decodes also gives the first token; only a connector can say otherwise."""
        return self.connector is None or self.connector.decode_gives_first_token

    def reserve(self, sequence: VllmRequestState, kept: int = 0) -> int | None:
        """Blocks for the prompt, and for the first token if that comes along: returns the tokens hit, None if there is
        no room beside so many blocks that are ``kept`` for others. A prompt is never hit whole
        (`v1/core/kv_cache_manager.py`, get_computed_blocks)."""
        inputs = sequence.request.input_tokens
        along = 0 if self.first_token_here else 1
        hit = self._cache.get_computed_blocks(sequence, inputs - 1 + along)
        if not self._cache.fits(inputs + along, hit, kept):
            return None
        self._cache.allocate_slots(sequence, hit, inputs + along)
        sequence.num_computed_tokens = inputs
        hit_tokens = self._cache.hit_tokens(hit)
        self._waiting[sequence.request.id] = sequence
        if self.connector is not None:
            self.connector.reserved(sequence, inputs - hit_tokens)
        return hit_tokens

    def drop(self, sequence: VllmRequestState) -> None:
        """It was aborted. Blocks that its K and V are still being written to are free when these are here."""
        del self._waiting[sequence.request.id]
        if sequence.request.id in self._here:
            self._here.remove(sequence.request.id)
            self._cache.free(sequence)
        else:
            self._dropped.append(sequence)

    def loaded(self, sequence: VllmRequestState) -> None:
        """The K and V of a reserved sequence are here: it can start in the next step. One that the engine had before
        it failed is none of its own any more."""
        if sequence in self._dropped:
            self._dropped.remove(sequence)
            self._cache.free(sequence)
        elif self.has(sequence):
            self._here.add(sequence.request.id)

    def take(self, sequence: VllmRequestState) -> bool:
        """It starts, if its K and V are here: from now on they can be found."""
        if not self.is_here(sequence):
            return False
        self.let_go(sequence)
        self._cache.cache_blocks(sequence, sequence.request.input_tokens)
        return True

    # Recalled from off the device: see `recalls` ---------------------------------------------------

    def hold(self, sequence: VllmRequestState) -> None:
        """It has blocks for what is recalled, or is to be looked at again; it keeps its place."""
        self._waiting[sequence.request.id] = sequence

    def is_here(self, sequence: VllmRequestState) -> bool:
        """Whether what it waited for has come."""
        return sequence.request.id in self._here

    def let_go(self, sequence: VllmRequestState) -> None:
        """It waits no more."""
        self._here.discard(sequence.request.id)
        self._waiting.pop(sequence.request.id, None)

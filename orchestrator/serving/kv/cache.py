"""The KV cache of one engine, as the scheduler uses it: sequences in, blocks and prefix hits out."""

from __future__ import annotations

from typing import Any

from ...workload.request import Request
from ..request_state import RequestState
from .hashing import hash_blocks
from .pool import BlockPool


class PagedState(RequestState):
    """A request with K and V in blocks.

    Attributes:
        block_ids: the blocks it holds, in order of its tokens.
        block_hashes: hashes of its full blocks, as far as needed so far.
        num_cached_blocks: how many of its blocks can be found by their hash.
    """

    __slots__ = ("block_hashes", "block_ids", "num_cached_blocks")

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.block_ids: list[int] = []
        self.block_hashes: list[bytes] = []
        self.num_cached_blocks = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> PagedState:
        copied = super().__deepcopy__(memo)
        if not isinstance(copied, PagedState):
            raise TypeError(copied)
        copied.block_ids = list(self.block_ids)
        return copied


class KvCache:
    """A block pool, and the prefix index if ``prefix_caching``."""

    def __init__(self, num_blocks: int, block_size: int, prefix_caching: bool) -> None:
        self.pool = BlockPool(num_blocks)
        self.block_size, self._prefix_caching = block_size, prefix_caching

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def get_computed_blocks(self, state: PagedState, most: int) -> list[int]:
        """The blocks of the longest cached beginning, of at most ``most`` tokens."""
        ids = state.request.token_ids
        if not self._prefix_caching or ids is None:
            return []
        if not state.block_hashes:
            state.block_hashes = hash_blocks(ids, self.block_size)
        return self.pool.get_cached_blocks(state.block_hashes, most // self.block_size)

    def fits(self, tokens: int, hit: list[int]) -> bool:
        """Whether there are blocks for that many tokens, of which ``hit`` are in the cache."""
        # Hits nobody holds leave the free queue, too.
        return self.blocks_for(tokens) - len(hit) + self.pool.idle(hit) <= self.pool.free

    def allocate_slots(self, state: PagedState, hit: list[int], tokens: int) -> None:
        """Give a sequence without blocks those it hit, and new ones up to ``tokens`` tokens."""
        self.pool.touch(hit)
        state.block_ids = hit + self.pool.get_new_blocks(self.blocks_for(tokens) - len(hit))
        state.num_cached_blocks = len(hit)

    def cache_blocks(self, state: PagedState, computed: int) -> None:
        """Make the blocks that ``computed`` tokens fill findable by their hashes, if these are known."""
        chain, blocks = state.block_hashes, state.block_ids
        full = min(computed // self.block_size, len(chain))
        for block in range(state.num_cached_blocks, full):
            self.pool.cache_block(blocks[block], chain[block])
        state.num_cached_blocks = max(state.num_cached_blocks, full)

    def free(self, state: PagedState) -> None:
        """Give back all its blocks."""
        self.pool.free_blocks(state.block_ids)
        state.block_ids = []
        state.num_cached_blocks = 0

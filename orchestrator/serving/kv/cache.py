"""The KV cache of one engine, as the scheduler uses it: sequences in, blocks and prefix hits out."""

from __future__ import annotations

from ..request_state import RequestState
from .hashing import hash_blocks
from .pool import BlockPool


class KvCache:
    """A block pool, and the prefix index if ``prefix_caching``."""

    def __init__(self, num_blocks: int, block_size: int, prefix_caching: bool) -> None:
        self.pool = BlockPool(num_blocks)
        self.block_size, self._prefix_caching = block_size, prefix_caching

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def get_computed_blocks(self, sequence: RequestState, most: int) -> list[int]:
        """The blocks of the longest cached beginning, of at most ``most`` tokens."""
        ids = sequence.request.token_ids
        if not self._prefix_caching or ids is None:
            return []
        if not sequence.block_hashes:
            sequence.block_hashes = hash_blocks(ids, self.block_size)
        return self.pool.get_cached_blocks(sequence.block_hashes, most // self.block_size)

    def fits(self, tokens: int, hit: list[int]) -> bool:
        """Whether there are blocks for that many tokens, of which ``hit`` are in the cache."""
        # Hits nobody holds leave the free queue, too.
        return self.blocks_for(tokens) - len(hit) + self.pool.idle(hit) <= self.pool.free

    def allocate_slots(self, sequence: RequestState, hit: list[int], tokens: int) -> None:
        """Give a sequence without blocks those it hit, and new ones up to ``tokens`` tokens."""
        self.pool.touch(hit)
        sequence.block_ids = hit + self.pool.get_new_blocks(self.blocks_for(tokens) - len(hit))
        sequence.num_cached_blocks = len(hit)

    def cache_blocks(self, sequence: RequestState, computed: int) -> None:
        """Make the blocks that ``computed`` tokens fill findable by their hashes, if these are known."""
        chain, blocks = sequence.block_hashes, sequence.block_ids
        full = min(computed // self.block_size, len(chain))
        for block in range(sequence.num_cached_blocks, full):
            self.pool.cache_block(blocks[block], chain[block])
        sequence.num_cached_blocks = max(sequence.num_cached_blocks, full)

    def free(self, sequence: RequestState) -> None:
        """Give back all its blocks."""
        self.pool.free_blocks(sequence.block_ids)
        sequence.block_ids = []
        sequence.num_cached_blocks = 0

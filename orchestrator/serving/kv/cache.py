"""The KV cache of one engine, as the scheduler uses it: sequences in, blocks and prefix hits out."""

from __future__ import annotations

from ..sequence import Sequence
from .hashing import block_names
from .pool import BlockPool


class KvCache:
    """A block pool, and the prefix index if ``prefix_caching``."""

    def __init__(self, num_blocks: int, block_size: int, prefix_caching: bool) -> None:
        self.pool = BlockPool(num_blocks)
        self.block_size, self._prefix_caching = block_size, prefix_caching

    def blocks_for(self, tokens: int) -> int:
        return -(-tokens // self.block_size)

    def cached(self, sequence: Sequence, most: int) -> list[int]:
        """The blocks of the longest cached beginning, of at most ``most`` tokens."""
        ids = sequence.request.token_ids
        if not self._prefix_caching or ids is None:
            return []
        if not sequence.chain:
            sequence.chain = block_names(ids, self.block_size)
        return self.pool.lookup(sequence.chain, most // self.block_size)

    def fits(self, tokens: int, hit: list[int]) -> bool:
        """Whether there are blocks for that many tokens, of which ``hit`` are in the cache."""
        # Hits nobody holds leave the free queue, too.
        return self.blocks_for(tokens) - len(hit) + self.pool.idle(hit) <= self.pool.free

    def start(self, sequence: Sequence, hit: list[int], tokens: int) -> None:
        """Give a sequence without blocks those it hit, and new ones up to ``tokens`` tokens."""
        self.pool.hold(hit)
        sequence.blocks = hit + self.pool.allocate(self.blocks_for(tokens) - len(hit))
        sequence.named = len(hit)

    def name(self, sequence: Sequence, computed: int) -> None:
        """Make the blocks that ``computed`` tokens fill findable by their hashes, if these are known."""
        chain, blocks = sequence.chain, sequence.blocks
        full = min(computed // self.block_size, len(chain))
        for block in range(sequence.named, full):
            self.pool.remember(blocks[block], chain[block])
        sequence.named = max(sequence.named, full)

    def free(self, sequence: Sequence) -> None:
        """Give back all its blocks."""
        self.pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.named = 0

"""The KV cache of one engine, as the scheduler uses it: sequences in, blocks and prefix hits out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...workload.request import Request
from ..request_state import RequestState
from .hashing import hash_blocks
from .pool import BlockPool

Hit = list[list[int]]


class PagedState(RequestState):
    """A request with K and V in blocks.

    Attributes:
        block_ids: the blocks it holds, in order of its tokens.
        tables: the same by group of layers, where there are several; `block_ids` is then empty.
        block_hashes: hashes of its full blocks, as far as needed so far.
        num_cached_blocks: how many of its blocks can be found by their hash.
    """

    __slots__ = ("block_hashes", "block_ids", "num_cached_blocks", "tables")

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.block_ids: list[int] = []
        self.tables: list[list[int]] = []
        self.block_hashes: list[bytes] = []
        self.num_cached_blocks = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> PagedState:
        copied = super().__deepcopy__(memo)
        if not isinstance(copied, PagedState):
            raise TypeError(copied)
        copied.block_ids = list(self.block_ids)
        copied.tables = [list(table) for table in self.tables]
        return copied


class KvCache:
    """A block pool, and the prefix index if ``prefix_caching``; every layer keeps all tokens.

    Hits are blocks by group of layers, of which there is one here (`HybridKvCache` has several).

    Attributes:
        edges: contexts, modulo the block size, at which a decoding sequence takes or gives back blocks.
        partial: whether blocks are given back before their sequence ends.
    """

    partial = False

    def __init__(
        self, num_blocks: int, block_size: int, prefix_caching: bool, pool: type[BlockPool] = BlockPool
    ) -> None:
        self.pool = pool(num_blocks)
        self.block_size, self._prefix_caching = block_size, prefix_caching
        self.edges: frozenset[int] = frozenset({0})

    def blocks_for(self, tokens: int) -> int:
        """Blocks of a sequence of that many tokens, of which nothing is let go."""
        return -(-tokens // self.block_size)

    def most_blocks(self, inputs: int, tokens: int) -> int:
        """Blocks that a request of ``inputs`` prompt tokens holds at most on its way to ``tokens`` tokens."""
        return self.blocks_for(tokens)

    def held(self, state: PagedState) -> int:
        """Blocks it holds."""
        return len(state.block_ids)

    def _hashes(self, state: PagedState) -> list[bytes]:
        ids = state.request.token_ids
        if not self._prefix_caching or ids is None:
            return []
        if not state.block_hashes:
            state.block_hashes = hash_blocks(ids, self.block_size)
        return state.block_hashes

    def get_computed_blocks(self, state: PagedState, most: int) -> Hit:
        """The blocks of the longest cached beginning, of at most ``most`` tokens."""
        return self.find(self._hashes(state), most)

    def find(self, hashes: Sequence[bytes], most: int) -> Hit:
        """The same, of a chain of hashes."""
        return [self.pool.get_cached_blocks(hashes, most // self.block_size)]

    def hit_tokens(self, hit: Hit) -> int:
        """How many tokens those blocks hold."""
        return len(hit[0]) * self.block_size

    def fits(self, tokens: int, hit: Hit, kept: int = 0) -> bool:
        """Whether there are blocks for that many tokens, of which ``hit`` are in the cache, and ``kept`` more."""
        # Hits nobody holds leave the free queue, too.
        return self.blocks_for(tokens) - len(hit[0]) + self.pool.idle(hit[0]) + kept <= self.pool.free

    def allocate_slots(self, state: PagedState, hit: Hit, tokens: int) -> None:
        """Give a sequence without blocks those it hit, and new ones up to ``tokens`` tokens."""
        (found,) = hit
        self.pool.touch(found)
        state.block_ids = found + self.pool.get_new_blocks(self.blocks_for(tokens) - len(found))
        state.num_cached_blocks = len(found)

    def missing(self, state: PagedState, tokens: int) -> int:
        """Blocks a sequence lacks to hold that many tokens."""
        lacking = self.blocks_for(tokens) - len(state.block_ids)
        return lacking if lacking > 0 else 0

    def extend(self, state: PagedState, tokens: int) -> None:
        """Give it the blocks that it lacks to hold that many tokens; they must be free."""
        state.block_ids += self.pool.get_new_blocks(self.missing(state, tokens))

    def remove_skipped_blocks(self, state: PagedState, computed: int) -> None:
        """Give back what no token after ``computed`` ones attends to."""

    def cache_blocks(self, state: PagedState, computed: int) -> None:
        """Make the blocks that ``computed`` tokens fill findable by their hashes, if these are known."""
        chain, blocks = state.block_hashes, state.block_ids
        if not chain:
            return
        full = min(computed // self.block_size, len(chain))
        while state.num_cached_blocks < full:
            block = state.num_cached_blocks
            self.pool.cache_block(blocks[block], chain[block])
            state.num_cached_blocks += 1

    def take_away(self, state: PagedState) -> list[int]:
        """All its blocks, which it has no more and nobody has yet."""
        blocks, state.block_ids, state.num_cached_blocks = state.block_ids, [], 0
        return blocks

    def free(self, state: PagedState) -> None:
        """Give back all its blocks."""
        self.pool.free_blocks(self.take_away(state))

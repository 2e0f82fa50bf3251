"""A KV cache of several groups of layers, of which some keep only what is still attended to.

vLLM's hybrid KV cache manager (`v1/core/kv_cache_coordinator.py`, `single_type_kv_cache_manager.py`; 0.19): one pool,
and of every sequence a table of blocks a group. What a window has passed goes back to the pool, and its place in the
table is empty. A state is one block of a sequence from its beginning to its end: prefixes are not cached then. Blocks
of groups whose layers take less of a token hold more tokens, so that all blocks are of one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

from .cache import Hit, KvCache, PagedState
from .groups import KvGroup
from .pool import BlockPool

EMPTY = -1  # in a table, where the block is back in the pool


class HybridKvCache(KvCache):
    """As `KvCache`, with ``groups`` in the order of their tables."""

    partial = True

    def __init__(
        self,
        num_blocks: int,
        block_size: int,
        prefix_caching: bool,
        groups: Sequence[KvGroup],
        pool: type[BlockPool] = BlockPool,
    ) -> None:
        super().__init__(num_blocks, block_size, prefix_caching, pool)
        self._groups = tuple(groups)
        kinds = dict.fromkeys(self._groups)
        self._kinds = sorted(kinds, key=lambda kind: not kind.keeps_all)  # these first: they bound the others' hits
        self._tables = {kind: [i for i, other in enumerate(self._groups) if other == kind] for kind in kinds}
        self._aligned = lcm(*(group.ratio * block_size for group in self._groups))  # what hits are multiples of
        windows = {(group.window - 1) % block_size for group in self._groups if group.window}
        self.edges = frozenset({0} | windows)

    def most_blocks(self, inputs: int, tokens: int) -> int:
        """All of the prompt is counted in every group when it is admitted; later a window's worth in some."""
        most = [
            min(self._blocks(group, tokens), -(-(group.window - 1) // self._size(group)) + 1)
            if group.window
            else self._blocks(group, min(group.chunk, tokens) if group.chunk else tokens)
            for group in self._groups
        ]
        return max(sum(self._blocks(group, inputs) for group in self._groups), sum(most))

    def _blocks(self, group: KvGroup, tokens: int) -> int:
        """Blocks of a sequence of that many tokens in a group that lets nothing go."""
        return 1 if group.state else -(-tokens // self._size(group))

    def _size(self, group: KvGroup) -> int:
        """Tokens of a block of that group."""
        return self.block_size * group.ratio

    def held(self, state: PagedState) -> int:
        return sum(block != EMPTY for table in state.tables for block in table)

    # Hits -----------------------------------------------------------------------------------------

    def find(self, hashes: Sequence[bytes], most: int) -> Hit:
        """Kind by kind, each within what the others allow, until none allows less."""
        hit: Hit = [[] for _ in self._groups]
        tokens = min(len(hashes) * self.block_size, most)
        while True:
            before = tokens
            for kind in self._kinds:
                tables, size = self._tables[kind], self._size(kind)
                if kind.keeps_all and hit[tables[0]]:
                    tokens = tokens // size * size
                    continue
                found = self._find(kind, tables, hashes[kind.ratio - 1 :: kind.ratio], tokens // size)
                while len(found) * size % self._aligned:
                    found.pop()
                for table, column in zip(
                    tables, zip(*found, strict=True) if found else [()] * len(tables), strict=True
                ):
                    hit[table] = list(column)
                tokens = len(found) * size
            if tokens == before or (len(self._kinds) == 2 and self._kinds[0].keeps_all):
                break
        return [column[: tokens // self._size(kind)] for kind, column in zip(self._groups, hit, strict=True)]

    def hit_tokens(self, hit: Hit) -> int:
        return len(hit[0]) * self._size(self._groups[0])

    def _find(self, kind: KvGroup, tables: list[int], hashes: Sequence[bytes], most: int) -> list[list[int]]:
        """Of the longest hit of one kind, block by block: a block for each of its tables."""
        if kind.window:
            return self._find_window(kind, tables, hashes, most)
        size = self._size(kind)
        first = kind.chunk and most * size // kind.chunk * kind.chunk // size
        found = [[EMPTY] * len(tables)] * first
        for name in hashes[first:most]:
            here = self._cached(name, tables)
            if here is None:
                break
            found.append(here)
        return found

    def _find_window(self, kind: KvGroup, tables: list[int], hashes: Sequence[bytes], most: int) -> list[list[int]]:
        """The last place where a whole window's blocks are cached, or as many as there are at the beginning."""
        size = self._size(kind)
        wanted = -(-(kind.window - 1) // size)
        found = [[EMPTY] * len(tables)] * most
        row = 0
        for block in range(most - 1, -1, -1):
            here = self._cached(hashes[block], tables)
            if here is None:
                row = 0
                continue
            if not row and (block + 1) * size % self._aligned:
                continue
            found[block] = here
            row += 1
            if row >= wanted:
                return found[: block + row]
        return found[:row]

    def _cached(self, name: bytes, tables: list[int]) -> list[int] | None:
        """The blocks of that name in all of these tables."""
        found = []
        for table in tables:
            block = self.pool.get_cached_block(_in_table(name, table))
            if block is None:
                return None
            found.append(block)
        return found

    # Blocks ---------------------------------------------------------------------------------------

    def fits(self, tokens: int, hit: Hit, kept: int = 0) -> bool:
        need = kept
        for group, blocks in zip(self._groups, hit, strict=True):
            hits = [block for block in blocks[self._skipped(group, len(blocks)) :] if block != EMPTY]
            need += self._blocks(group, tokens) - len(blocks) + self.pool.idle(hits)
        return need <= self.pool.free

    def _skipped(self, group: KvGroup, blocks: int) -> int:
        """Of the blocks of a hit, those at the beginning that are not needed."""
        return group.skipped(blocks * self._size(group)) // self._size(group)

    def allocate_slots(self, state: PagedState, hit: Hit, tokens: int) -> None:
        state.tables = []
        for group, blocks in zip(self._groups, hit, strict=True):
            skipped = self._skipped(group, len(blocks))
            self.pool.touch(blocks[skipped:])
            state.tables.append([EMPTY] * skipped + blocks[skipped:])
        state.num_cached_blocks = self.hit_tokens(hit) // self.block_size
        self.extend(state, tokens)

    def missing(self, state: PagedState, tokens: int) -> int:
        tables = state.tables or [[]] * len(self._groups)
        return sum(
            max(0, self._blocks(group, tokens) - len(table)) for group, table in zip(self._groups, tables, strict=True)
        )

    def extend(self, state: PagedState, tokens: int) -> None:
        for group, table in zip(self._groups, state.tables, strict=True):
            table += self.pool.get_new_blocks(max(0, self._blocks(group, tokens) - len(table)))

    def remove_skipped_blocks(self, state: PagedState, computed: int) -> None:
        for group, table in zip(self._groups, state.tables, strict=True):
            end = min(group.skipped(computed) // self._size(group), len(table))
            first = end
            while first and table[first - 1] != EMPTY:
                first -= 1
            if first < end:
                self.pool.free_blocks(table[first:end])
                table[first:end] = [EMPTY] * (end - first)

    def cache_blocks(self, state: PagedState, computed: int) -> None:
        chain, first = state.block_hashes, state.num_cached_blocks
        full = min(computed // self.block_size, len(chain))
        for number, (group, table) in enumerate(zip(self._groups, state.tables, strict=True)):
            for block in range(first // group.ratio, full // group.ratio):
                if table[block] != EMPTY:
                    self.pool.cache_block(table[block], _in_table(chain[(block + 1) * group.ratio - 1], number))
        state.num_cached_blocks = max(first, full)

    def take_away(self, state: PagedState) -> list[int]:
        blocks = [block for table in state.tables for block in table if block != EMPTY]
        state.tables, state.num_cached_blocks = [], 0
        return blocks

    def free(self, state: PagedState) -> None:
        for table in state.tables:
            self.pool.free_blocks([block for block in table if block != EMPTY])
        state.tables = []
        state.num_cached_blocks = 0


def _in_table(name: bytes, table: int) -> bytes:
    """A block's name among those of one group: groups keep different K and V of the same tokens."""
    return name + table.to_bytes(2, "big")


def kv_cache(
    num_blocks: int,
    block_size: int,
    prefix_caching: bool,
    groups: Sequence[KvGroup],
    pool: type[BlockPool] = BlockPool,
) -> KvCache:
    """The cache for layers in such groups; without any, they keep all."""
    if all(group.keeps_all for group in groups):
        return KvCache(num_blocks, block_size, prefix_caching, pool)
    return HybridKvCache(num_blocks, block_size, prefix_caching, groups, pool)

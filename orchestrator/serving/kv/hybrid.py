"""A KV cache of several groups of layers, of which some keep only what is still attended to.

vLLM's hybrid KV cache manager (`v1/core/kv_cache_coordinator.py`, `single_type_kv_cache_manager.py`; 0.19): one pool,
and of every sequence a table of blocks a group. What a window has passed goes back to the pool, and its place in the
table is empty. A state is one block of a sequence from its beginning to its end: prefixes are not cached then.
"""

from __future__ import annotations

from collections.abc import Sequence

from .cache import Hit, KvCache, PagedState
from .groups import KvGroup

EMPTY = -1  # in a table, where the block is back in the pool


class HybridKvCache(KvCache):
    """As `KvCache`, with ``groups`` in the order of their tables."""

    partial = True

    def __init__(self, num_blocks: int, block_size: int, prefix_caching: bool, groups: Sequence[KvGroup]) -> None:
        super().__init__(num_blocks, block_size, prefix_caching)
        self._groups = tuple(groups)
        kinds = dict.fromkeys(self._groups)
        self._kinds = sorted(kinds, key=lambda kind: not kind.keeps_all)  # these first: they bound the others' hits
        self._tables = {kind: [i for i, other in enumerate(self._groups) if other == kind] for kind in kinds}
        self._growing = [i for i, group in enumerate(self._groups) if not group.state]
        windows = {(group.window - 1) % block_size for group in self._groups if group.window}
        self.edges = frozenset({0} | windows)

    def most_blocks(self, inputs: int, tokens: int) -> int:
        """All of the prompt is counted in every group when it is admitted; later a window's worth in some."""
        most = [
            min(self._blocks(group, tokens), -(-(group.window - 1) // self.block_size) + 1)
            if group.window
            else self._blocks(group, min(group.chunk, tokens) if group.chunk else tokens)
            for group in self._groups
        ]
        return max(sum(self._blocks(group, inputs) for group in self._groups), sum(most))

    def _blocks(self, group: KvGroup, tokens: int) -> int:
        """Blocks of a sequence of that many tokens in a group that lets nothing go."""
        return 1 if group.state else self.blocks_for(tokens)

    def held(self, state: PagedState) -> int:
        return sum(block != EMPTY for table in state.tables for block in table)

    # Hits -----------------------------------------------------------------------------------------

    def find(self, hashes: Sequence[bytes], most: int) -> Hit:
        """Kind by kind, each within what the others allow, until none allows less."""
        hit: Hit = [[] for _ in self._groups]
        blocks = min(len(hashes), most // self.block_size)
        while True:
            before = blocks
            for kind in self._kinds:
                tables = self._tables[kind]
                if kind.keeps_all and hit[tables[0]]:
                    blocks = min(blocks, len(hit[tables[0]]))
                    continue
                found = self._find(kind, tables, hashes, blocks)
                for table, column in zip(
                    tables, zip(*found, strict=True) if found else [()] * len(tables), strict=True
                ):
                    hit[table] = list(column)
                blocks = len(found)
            if blocks == before or (len(self._kinds) == 2 and self._kinds[0].keeps_all):
                break
        return [column[:blocks] for column in hit]

    def _find(self, kind: KvGroup, tables: list[int], hashes: Sequence[bytes], most: int) -> list[list[int]]:
        """Of the longest hit of one kind, block by block: a block for each of its tables."""
        if kind.window:
            return self._find_window(kind, tables, hashes, most)
        first = kind.chunk and most * self.block_size // kind.chunk * kind.chunk // self.block_size
        found = [[EMPTY] * len(tables)] * first
        for name in hashes[first:most]:
            here = self._cached(name, tables)
            if here is None:
                break
            found.append(here)
        return found

    def _find_window(self, kind: KvGroup, tables: list[int], hashes: Sequence[bytes], most: int) -> list[list[int]]:
        """The last place where a whole window's blocks are cached, or as many as there are at the beginning."""
        wanted = -(-(kind.window - 1) // self.block_size)
        found = [[EMPTY] * len(tables)] * most
        row = 0
        for block in range(most - 1, -1, -1):
            here = self._cached(hashes[block], tables)
            if here is None:
                row = 0
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

    def fits(self, tokens: int, hit: Hit) -> bool:
        need = 0
        for group, blocks in zip(self._groups, hit, strict=True):
            kept = [block for block in blocks[self._skipped(group, len(blocks)) :] if block != EMPTY]
            need += self._blocks(group, tokens) - len(blocks) + self.pool.idle(kept)
        return need <= self.pool.free

    def _skipped(self, group: KvGroup, blocks: int) -> int:
        """Of the blocks of a hit, those at the beginning that are not needed."""
        return group.skipped(blocks * self.block_size) // self.block_size

    def allocate_slots(self, state: PagedState, hit: Hit, tokens: int) -> None:
        state.tables = []
        for group, blocks in zip(self._groups, hit, strict=True):
            skipped = self._skipped(group, len(blocks))
            self.pool.touch(blocks[skipped:])
            state.tables.append([EMPTY] * skipped + blocks[skipped:])
        state.num_cached_blocks = len(hit[0])
        self.extend(state, self.missing(state, tokens))

    def missing(self, state: PagedState, tokens: int) -> int:
        growing = self._growing
        held = len(state.tables[growing[0]]) if state.tables else 0  # tables that grow are of one length
        lacking = max(0, self.blocks_for(tokens) - held) * len(growing)
        return lacking if held else lacking + len(self._groups) - len(growing)

    def extend(self, state: PagedState, count: int) -> None:
        states = 0 if state.tables[self._growing[0]] else len(self._groups) - len(self._growing)
        each = (count - states) // len(self._growing)
        for group, table in zip(self._groups, state.tables, strict=True):
            if not group.state:
                table += self.pool.get_new_blocks(each)
            elif states:
                table += self.pool.get_new_blocks(1)

    def remove_skipped_blocks(self, state: PagedState, computed: int) -> None:
        for group, table in zip(self._groups, state.tables, strict=True):
            end = min(group.skipped(computed) // self.block_size, len(table))
            first = end
            while first and table[first - 1] != EMPTY:
                first -= 1
            if first < end:
                self.pool.free_blocks(table[first:end])
                table[first:end] = [EMPTY] * (end - first)

    def cache_blocks(self, state: PagedState, computed: int) -> None:
        chain, first = state.block_hashes, state.num_cached_blocks
        full = min(computed // self.block_size, len(chain))
        for number, table in enumerate(state.tables):
            for block in range(first, full):
                if table[block] != EMPTY:
                    self.pool.cache_block(table[block], _in_table(chain[block], number))
        state.num_cached_blocks = max(first, full)

    def free(self, state: PagedState) -> None:
        for table in state.tables:
            self.pool.free_blocks([block for block in table if block != EMPTY])
        state.tables = []
        state.num_cached_blocks = 0


def _in_table(name: bytes, table: int) -> bytes:
    """A block's name among those of one group: groups keep different K and V of the same tokens."""
    return name + table.to_bytes(2, "big")


def kv_cache(num_blocks: int, block_size: int, prefix_caching: bool, groups: Sequence[KvGroup]) -> KvCache:
    """The cache for layers in such groups; without any, they keep all."""
    if all(group.keeps_all for group in groups):
        return KvCache(num_blocks, block_size, prefix_caching)
    return HybridKvCache(num_blocks, block_size, prefix_caching, groups)

"""Layers that keep the same tokens share a table of blocks: vLLM's KV cache groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KvGroup:
    """What layers of one group keep.

    Attributes:
        window: tokens a query sees, itself included; 0 = all before it.
        chunk: queries see the tokens of their own chunk of so many only; 0 = no chunks.
        state: a state a sequence is kept, in one block, instead of tokens (Mamba and its like).
        ratio: a block holds so many times the tokens of the smallest, where a token takes less than in other groups.
    """

    window: int = 0
    chunk: int = 0
    state: bool = False
    ratio: int = 1

    @property
    def keeps_all(self) -> bool:
        """Whether every token may still be attended to."""
        return not self.window and not self.chunk and not self.state

    def skipped(self, computed: int) -> int:
        """Tokens at the beginning that no token after ``computed`` ones attends to (vLLM's get_num_skipped_tokens)."""
        if self.window:
            return max(0, computed - self.window + 1)
        return computed // self.chunk * self.chunk if self.chunk else 0

    def most_blocks(self, tokens: int, batched: int, block_size: int) -> int:
        """Blocks a sequence of ``tokens`` tokens holds at most, with ``batched`` computed at once: what vLLM has room
        for on starting (`v1/kv_cache_interface.py`, max_memory_usage_bytes)."""
        block_size *= self.ratio
        if self.state:
            return 1
        if self.window:
            return -(-min(self.window - 1 + batched, tokens) // block_size) + 1
        return -(-(min(self.chunk + batched, tokens) if self.chunk else tokens) // block_size)


def in_groups(layers: Sequence[KvGroup]) -> list[tuple[KvGroup, list[int]]]:
    """Groups of layers, by number, in the order of their tables.

    Layers that keep the same are split into groups of as many layers as the rarest kind has, or as the commonest where
    that is less than half more; a block is a page in each layer of one group
    (`v1/core/kv_cache_utils.py`, _get_kv_cache_groups_uniform_page_size; 0.19).
    """
    kinds: dict[KvGroup, list[int]] = {}
    for layer, kind in enumerate(layers):
        kinds.setdefault(kind, []).append(layer)
    counts = [len(numbers) for numbers in kinds.values()]
    size = max(counts) if max(counts) < min(counts) * 1.5 else min(counts)
    found = []
    for kind, numbers in kinds.items():
        groups = -(-len(numbers) // size)
        found += [(kind, numbers[first::groups]) for first in range(groups)]
    return found

"""The pool of KV blocks in the order of reuse of vLLM 0.33: those without a hash first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .pool import BlockPool


class NamelessFirstPool(BlockPool):
    """Free blocks that no hash finds are before all others, the last given back first: nothing is lost with them
    (`v1/core/block_pool.py`, free_blocks)."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._nameless: list[int] = []  # free, the next to be taken last

    def __deepcopy__(self, memo: dict[int, Any]) -> NamelessFirstPool:
        copied = super().__deepcopy__(memo)
        if not isinstance(copied, NamelessFirstPool):
            raise TypeError(copied)
        copied._nameless = self._nameless[:]
        return copied

    @property
    def free(self) -> int:
        return self.size - self._fresh + self._idle + len(self._nameless)

    def forgets_nothing(self, count: int) -> bool:
        return super().forgets_nothing(count - len(self._nameless))

    def get_new_blocks(self, count: int) -> list[int]:
        again = min(count, len(self._nameless))
        return [self.get_new_block() for _ in range(again)] + super().get_new_blocks(count - again)

    def get_new_block(self) -> int:
        if not self._nameless:
            return super().get_new_block()
        block = self._nameless.pop()
        self._references[block] = 1
        return block

    def free_blocks(self, blocks: Sequence[int]) -> None:
        references, named = self._references, self._hash_of
        kept = []
        for block in blocks:
            if named[block] is not None or references[block] != 1:
                kept.append(block)
            else:
                references[block] = 0
                self._nameless.append(block)
        super().free_blocks(kept)

    def _queue(self) -> list[int]:
        return [*reversed(self._nameless), *super()._queue()]

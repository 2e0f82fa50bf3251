"""The pool of KV blocks of one instance, with vLLM's order of reuse.

Free blocks wait in a queue: taken from the head, returned to the tail. A free block keeps its hash
until it is taken, so that what preempted or finished requests left behind can still be hit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from copy import copy, deepcopy
from typing import Any

MOST_VOID = 64  # tickets, beside as many as there are valid ones


class BlockPool:
    """``size`` blocks, identified by 0 .. size-1.

    Blocks never used so far head the queue; they are kept as a count, so that a pool of any size
    costs nothing to make. ``evicted`` is told the names that nothing is found by any more.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.evicted: Callable[[bytes], None] | None = None
        self._fresh = 0  # first block never used
        self._queue: deque[int] = deque()  # tickets of freed blocks, in order: block = ticket % size
        self._freed: dict[int, int] = {}  # block -> its ticket; tickets of blocks that were touched since are void
        self._turn = 0
        self._references: dict[int, int] = {}
        self._by_hash: dict[bytes, int | dict[int, None]] = {}  # one block, or several in the order they were named
        self._hash_of: dict[int, bytes] = {}
        self.idle_cached = 0  # free blocks that can be found by their hash

    def __deepcopy__(self, memo: dict[int, Any]) -> BlockPool:
        """Plain numbers all: copying each dictionary whole is a hundred times as fast as item by item. (An ordered
        dictionary for the queue would be simpler, and takes fifteen times as long to copy.)"""
        copied = memo[id(self)] = copy(self)
        copied._queue, copied._freed = self._queue.copy(), self._freed.copy()
        copied._references = self._references.copy()
        copied._hash_of = self._hash_of.copy()
        copied.evicted = deepcopy(self.evicted, memo)
        copied._by_hash = {
            name: blocks if isinstance(blocks, int) else blocks.copy() for name, blocks in self._by_hash.items()
        }
        return copied

    @property
    def free(self) -> int:
        """Blocks nobody holds."""
        return self.size - self._fresh + len(self._freed)

    def forgets_nothing(self, count: int) -> bool:
        """Whether so many new blocks are certain to have held nothing that can be found: never used, or nothing can."""
        return count <= self.size - self._fresh or not self._by_hash

    @property
    def used(self) -> int:
        return self.size - self.free

    @property
    def cached(self) -> int:
        """Blocks that can be found by their hash."""
        return len(self._by_hash)

    def internals(self) -> list[object]:
        """Everything that decides what happens next, for a fingerprint."""
        return [
            self._fresh,
            [ticket % self.size for ticket in self._valid()],
            list(self._references.items()),
            [(name.hex(), block if isinstance(block, int) else list(block)) for name, block in self._by_hash.items()],
        ]

    def get_new_blocks(self, count: int) -> list[int]:
        """Take ``count`` blocks from the head; what they held is forgotten. They must be free."""
        if count == 1:  # a decoding sequence's next
            return [self.get_new_block()]
        first, self._fresh = self._fresh, min(self._fresh + count, self.size)
        blocks = list(range(first, self._fresh))
        self._references |= dict.fromkeys(blocks, 1)
        for _ in range(count - len(blocks)):
            block = self._pop()
            self._forget(block)
            self._references[block] = 1
            blocks.append(block)
        return blocks

    def get_new_block(self) -> int:
        """One block from the head."""
        if self._fresh < self.size:
            block = self._fresh
            self._fresh += 1
        else:
            block = self._pop()
            self._forget(block)
        self._references[block] = 1
        return block

    def _pop(self) -> int:
        """The head of the queue."""
        queue, freed, size = self._queue, self._freed, self.size
        while True:
            ticket = queue.popleft()
            block = ticket % size
            if freed.get(block) == ticket:
                del freed[block]
                return block

    def _valid(self) -> list[int]:
        freed, size = self._freed, self.size
        return [ticket for ticket in self._queue if freed.get(ticket % size) == ticket]

    def get_cached_blocks(self, chain: Sequence[bytes], limit: int) -> list[int]:
        """Blocks that hold the longest cached beginning of a chain, at most ``limit``."""
        found = []
        by_hash = self._by_hash
        for name in chain[:limit]:
            block = by_hash.get(name)
            if block is None:
                break
            found.append(block if isinstance(block, int) else next(iter(block)))
        return found

    def get_cached_block(self, name: bytes) -> int | None:
        """The block found by that hash."""
        block = self._by_hash.get(name)
        return block if block is None or isinstance(block, int) else next(iter(block))

    def idle(self, blocks: Iterable[int]) -> int:
        """How many of these are in the free queue (holding them takes them out of it)."""
        return sum(1 for block in blocks if block not in self._references)

    def touch(self, blocks: Iterable[int]) -> None:
        """One more user of each of these cached blocks."""
        for block in blocks:
            count = self._references.get(block, 0)
            if not count:
                del self._freed[block]
                self.idle_cached -= block in self._hash_of
            self._references[block] = count + 1
        if len(self._queue) > 2 * len(self._freed) + MOST_VOID:
            self._queue = deque(self._valid())

    def free_blocks(self, blocks: Sequence[int]) -> None:
        """One user less, last block first, so that a sequence's tail is reused before its head."""
        references, freed, queue, size, turn = self._references, self._freed, self._queue, self.size, self._turn
        named, idle = self._hash_of, 0
        for block in reversed(blocks):
            count = references.pop(block)
            if count > 1:
                references[block] = count - 1
            else:
                turn += 1
                freed[block] = ticket = turn * size + block
                queue.append(ticket)
                idle += block in named
        self._turn = turn
        self.idle_cached += idle

    def cache_block(self, block: int, name: bytes) -> None:
        """Make a full block findable by its hash. Several blocks may have one hash: the first of them is the one found,
        and when it is taken the next is (`vllm/v1/core/block_pool.py`, BlockHashToBlockMap)."""
        same = self._by_hash.get(name)
        if same is None:
            self._by_hash[name] = block
        elif isinstance(same, int):
            self._by_hash[name] = {same: None, block: None}
        else:
            same[block] = None
        self._hash_of[block] = name

    def _forget(self, block: int) -> None:
        name = self._hash_of.pop(block, None)
        if name is None:
            return
        self.idle_cached -= 1
        same = self._by_hash[name]
        if isinstance(same, int) or len(same) == 1:
            del self._by_hash[name]
            if self.evicted is not None:
                self.evicted(name)
        else:
            del same[block]

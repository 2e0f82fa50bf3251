"""The pool of KV blocks of one instance, with vLLM's order of reuse.

Free blocks wait in a queue: taken from the head, returned to the tail. A free block keeps its hash
until it is taken, so that what preempted or finished requests left behind can still be hit.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from copy import copy, deepcopy
from typing import Any

LEAST_ROOM = 256  # blocks that there is room for in the columns, when one is needed


class BlockPool:
    """``size`` blocks, identified by 0 .. size-1.

    Blocks never used so far head the queue; they are kept as a count, so that a pool of any size
    costs nothing to make. ``evicted`` is told the names that nothing is found by any more.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.evicted: Callable[[bytes], None] | None = None
        self._fresh = 0  # first block never used
        # By block, as far as any was used; in the queue of free ones a block's place is one more than its number, and
        # place 0 is before the head and after the tail.
        self._references = array("i")
        self._hash_of: list[bytes | None] = []
        self._after, self._before = array("i", [0]), array("i", [0])
        self._idle = 0  # in the queue
        self._by_hash: dict[bytes, int | dict[int, None]] = {}  # one block, or several in the order they were named
        self.idle_cached = 0  # free blocks that can be found by their hash

    def __deepcopy__(self, memo: dict[int, Any]) -> BlockPool:
        """Plain numbers all: copying each column whole is a hundred times as fast as item by item."""
        copied = memo[id(self)] = copy(self)
        copied._references, copied._hash_of = self._references[:], self._hash_of[:]
        copied._after, copied._before = self._after[:], self._before[:]
        copied.evicted = deepcopy(self.evicted, memo)
        copied._by_hash = {
            name: blocks if isinstance(blocks, int) else blocks.copy() for name, blocks in self._by_hash.items()
        }
        return copied

    def _make_room(self, blocks: int) -> None:
        """For so many that were used."""
        room = len(self._references)
        more = min(max(blocks, 2 * room, LEAST_ROOM), self.size) - room
        nothing = bytes(more * self._references.itemsize)
        for column in (self._references, self._after, self._before):
            column.frombytes(nothing)
        self._hash_of += [None] * more

    @property
    def free(self) -> int:
        """Blocks nobody holds."""
        return self.size - self._fresh + self._idle

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
            self._queue(),
            [(block, count) for block, count in enumerate(self._references) if count],
            [(name.hex(), block if isinstance(block, int) else list(block)) for name, block in self._by_hash.items()],
        ]

    def get_new_blocks(self, count: int) -> list[int]:
        """Take ``count`` blocks from the head; what they held is forgotten. They must be free."""
        if count == 1:  # a decoding sequence's next
            return [self.get_new_block()]
        first, end = self._fresh, min(self._fresh + count, self.size)
        if end > len(self._references):
            self._make_room(end)
        self._fresh, blocks = end, list(range(first, end))
        self._references[first:end] = array("i", [1]) * len(blocks)
        for _ in range(count - len(blocks)):
            block = self._pop()
            self._references[block] = 1
            blocks.append(block)
        return blocks

    def get_new_block(self) -> int:
        """One block from the head."""
        if self._fresh < self.size:
            block = self._fresh
            if block == len(self._references):
                self._make_room(block + 1)
            self._fresh += 1
        else:
            block = self._pop()
        self._references[block] = 1
        return block

    def _pop(self) -> int:
        """The head of the queue; what it held is forgotten."""
        after = self._after
        place = after[0]
        if not place:
            raise IndexError("no block is free")
        after[0] = then = after[place]
        self._before[then] = 0
        self._idle -= 1
        block = place - 1
        if self._hash_of[block] is not None:
            self._forget(block)
        return block

    def _queue(self) -> list[int]:
        """Free blocks that were used, in the order in which they are taken."""
        blocks, place = [], self._after[0]
        while place:
            blocks.append(place - 1)
            place = self._after[place]
        return blocks

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
        return sum(1 for block in blocks if not self._references[block])

    def touch(self, blocks: Iterable[int]) -> None:
        """One more user of each of these cached blocks."""
        references, after, before = self._references, self._after, self._before
        for block in blocks:
            count = references[block]
            if not count:
                ahead, then = before[block + 1], after[block + 1]
                after[ahead], before[then] = then, ahead
                self._idle -= 1
                self.idle_cached -= self._hash_of[block] is not None
            references[block] = count + 1

    def free_blocks(self, blocks: Sequence[int]) -> None:
        """One user less, last block first, so that a sequence's tail is reused before its head."""
        references, after, before, named = self._references, self._after, self._before, self._hash_of
        tail, idle, cached = before[0], 0, 0
        for block in reversed(blocks):
            count = references[block]
            references[block] = count - 1
            if count == 1:
                place = block + 1
                after[tail], before[place] = place, tail
                tail = place
                idle += 1
                cached += named[block] is not None
            elif not count:
                raise AssertionError(f"nobody holds block {block}")
        after[tail], before[0] = 0, tail
        self._idle += idle
        self.idle_cached += cached

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
        name, self._hash_of[block] = self._hash_of[block], None
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

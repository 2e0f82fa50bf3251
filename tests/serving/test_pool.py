"""The block pool against its rules, written plainly; and where a block may be found."""

from __future__ import annotations

import random
from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.serving.kv.nameless_first import NamelessFirstPool
from metronome.orchestrator.serving.kv.pool import BlockPool


class Plain:
    """Every block in one queue, each with its users and its hash; ``nameless_first``: those without one go to its
    head."""

    def __init__(self, size, nameless_first):
        self.nameless_first = nameless_first
        self.queue, self.users, self.hash, self.named = list(range(size)), {}, {}, []

    def take(self):
        block = self.queue.pop(0)
        if block in self.hash:
            self.named.remove((self.hash.pop(block), block))
        self.users[block] = 1
        return block

    def find(self, name):
        return next((block for known, block in self.named if known == name), None)

    def touch(self, block):
        if block in self.queue:
            self.queue.remove(block)
        self.users[block] = self.users.get(block, 0) + 1

    def give_back(self, blocks):
        first = []
        for block in reversed(blocks):
            self.users[block] -= 1
            if not self.users[block]:
                del self.users[block]
                (first if self.nameless_first and block not in self.hash else self.queue).append(block)
        self.queue[:0] = first

    def name(self, block, name):
        self.hash[block] = name
        self.named.append((name, block))


@pytest.mark.parametrize("kind", [BlockPool, NamelessFirstPool])
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_the_pool_is_the_queue_written_plainly(kind, seed):
    rng = random.Random(seed)
    size = rng.randrange(1, 12)
    pool, plain, held = kind(size), Plain(size, kind is NamelessFirstPool), []
    for _ in range(60):
        what = rng.randrange(5)
        if what == 0 and plain.queue:
            count = rng.randint(1, len(plain.queue))
            taken = pool.get_new_blocks(count)
            assert taken == [plain.take() for _ in range(count)]
            held.append(taken)
        elif what == 1 and held:
            mine = held.pop(rng.randrange(len(held)))
            pool.free_blocks(mine)
            plain.give_back(mine)
        elif what == 2 and held:
            block = rng.choice(rng.choice(held))
            if block not in plain.hash:
                name = bytes([rng.randrange(4)])
                pool.cache_block(block, name)
                plain.name(block, name)
        elif what == 3:
            chain = [bytes([rng.randrange(4)]) for _ in range(rng.randrange(5))]
            limit, found = rng.randrange(6), []
            for name in chain[:limit]:
                if plain.find(name) is None:
                    break
                found.append(plain.find(name))
            assert pool.get_cached_blocks(chain, limit) == found
            once = list(dict.fromkeys(found))
            assert pool.idle(once) == sum(block in plain.queue for block in once)
            pool.touch(once)
            for block in once:
                plain.touch(block)
            held += [once] if once else []
        elif what == 4:
            before, pool = pool, deepcopy(pool)  # what the copy does is nothing to the one it is of
            assert pool.internals() == before.internals()
            said = before.internals()
            other = deepcopy(pool)
            while other.free:
                other.get_new_block()
            other.free_blocks([block for block in range(size) if other._references[block]][:1])
            assert before.internals() == pool.internals() == said
        assert pool.idle_cached == sum(block in plain.hash for block in plain.queue)
        assert (pool.free, pool.used) == (len(plain.queue), size - len(plain.queue))
        assert pool.cached == len({name for name, _ in plain.named})
        assert [pool.get_cached_block(bytes([i])) for i in range(4)] == [plain.find(bytes([i])) for i in range(4)]


def test_none_is_none():
    pool = BlockPool(2)
    assert pool.get_new_blocks(0) == [] and pool.free == 2


def test_a_fingerprint_has_all_that_decides():
    """References, names (one block, and several of one name), the queue, and how many were never used."""
    pool = BlockPool(5)
    pool.free_blocks(pool.get_new_blocks(1))
    blocks = pool.get_new_blocks(3)
    pool.cache_block(blocks[0], b"\x01")
    pool.cache_block(blocks[1], b"\x02")
    pool.cache_block(blocks[2], b"\x02")
    assert blocks == [1, 2, 3]
    assert pool.internals() == [4, [0], [(1, 1), (2, 1), (3, 1)], [("01", 1), ("02", [2, 3])]]

"""Groups of layers that keep different tokens. What they decide is held to vLLM's own in tests/truth."""

from array import array
from random import Random

import pytest
from metronome.orchestrator.serving.kv.groups import KvGroup
from metronome.orchestrator.serving.kv.hybrid import EMPTY, HybridKvCache, kv_cache
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.workload.request import Request

from .engines import complete, vllm

ALL, WINDOW, CHUNK, STATE = KvGroup(), KvGroup(window=10), KvGroup(chunk=8), KvGroup(state=True)


def play(groups, requests, blocks=200, **flags):
    """All of them through an engine; the engine, and the most blocks that were held at once."""
    config = SchedulerConfig(**{"block_size": 4, "max_num_batched_tokens": 16, "max_num_seqs": 4, **flags})
    engine, most = vllm(config, blocks, kv_groups=tuple(groups)), 0
    for request in requests:
        engine.submit(engine.new_request(request))
    while step := engine.schedule(0):
        most = max(most, engine.used_blocks)
        complete(engine, step)
    return engine, most


def requests(count, seed=1, shared=0):
    stream = Random(seed)
    for number in range(count):
        inputs, outputs = stream.randint(max(1, shared), 60), stream.randint(1, 40)
        own = range(1000 * (number + 1), 1000 * (number + 1) + inputs + outputs - shared)
        yield Request(number, 0, inputs, outputs, array("q", [*[7] * shared, *own]))


@pytest.mark.parametrize("groups", [(ALL, WINDOW), (WINDOW, WINDOW, ALL), (WINDOW,), (CHUNK, ALL)])
@pytest.mark.parametrize("shared", [0, 20])
@pytest.mark.parametrize("blocks", [80, 400])
def test_all_blocks_come_back(groups, shared, blocks):
    engine, most = play(groups, requests(20, shared=shared), blocks)
    assert engine.scheduler.pool.free == blocks and 0 < most <= blocks
    assert engine.counts.admissions - engine.counts.preemptions == 20


def test_a_window_bounds_what_a_sequence_holds():
    request = Request(0, 0, 16, 400, None)
    _, full = play([ALL], [request])
    _, windowed = play([WINDOW], [request])
    _, both = play([ALL, WINDOW], [request])
    assert full == 104  # 415 tokens
    assert windowed == 4  # the prompt's; after it 3 or 4: nine tokens before the one that is computed, and that
    assert both == full + 4


def test_a_state_is_one_block_whatever_the_length():
    request = Request(0, 0, 16, 400, None)
    _, full = play([ALL], [request])
    _, both = play([STATE, ALL, STATE], [request], enable_prefix_caching=False)
    assert both == full + 2


@pytest.mark.parametrize("blocks", [40, 400])
def test_blocks_of_states_come_back(blocks):
    engine, most = play([ALL, STATE, STATE], requests(20), blocks, enable_prefix_caching=False)
    assert engine.scheduler.pool.free == blocks and 0 < most <= blocks
    assert bool(engine.counts.preemptions) == (blocks == 40)


def test_groups_that_keep_all_are_no_groups():
    assert not isinstance(kv_cache(10, 4, True, (ALL, ALL)), HybridKvCache)


def test_a_prefix_is_hit_where_every_group_has_what_it_needs():
    ids = array("q", range(100))
    first, again = Request(0, 0, 40, 1, ids), Request(1, 0, 40, 1, ids)
    engine, _ = play([ALL, WINDOW], [first], max_num_batched_tokens=64)
    hit = engine.scheduler.cache.get_computed_blocks(engine.new_request(again), 39)
    assert [len(blocks) for blocks in hit] == [9, 9]
    assert EMPTY not in hit[0]
    assert [block == EMPTY for block in hit[1]] == [True] * 6 + [False] * 3  # 9 tokens before the 37th: 3 blocks
    for block in hit[1][6:]:  # somebody else takes one of these: the window is broken, and with it the hit
        engine.scheduler.pool._forget(block)
    shorter = engine.scheduler.cache.get_computed_blocks(engine.new_request(again), 39)
    assert len(shorter[0]) == 6


def test_more_than_the_pool_can_ever_hold_is_refused():
    engine = vllm(SchedulerConfig(block_size=4), 30, kv_groups=(ALL, WINDOW))
    engine.check(Request(0, 0, 56, 40, None))  # 28 blocks of the prompt in two groups, then 24 and 4
    with pytest.raises(Exception, match="KV blocks"):
        engine.check(Request(0, 0, 64, 1, None))
    with pytest.raises(Exception, match="KV blocks"):
        engine.check(Request(0, 0, 8, 100, None))

"""Sessions whose turns come back after a while: what is still there, where, and for how long."""

from __future__ import annotations

import json

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.report.tiers import tiers
from metronome.orchestrator.serving.tiers.eviction import Owner, make_eviction
from metronome.orchestrator.serving.tiers.pool import TierPool

from .small import ran

PROMPT, OUTPUT, MORE, AWAY_S = 640, 17, 64, 5
BLOCK, BLOCK_GIB = 16, 16 * 131072 / 2**30
KNOWN = (PROMPT + OUTPUT - 1) // BLOCK * BLOCK  # a request's last token has no K and V; with asynchronous
# scheduling the step that fills a block does not know its last token yet, so that the last one is not stored.


def workload(tmp_path, others=6):
    """A session that is away for a while, and prompts of nobody else's that come meanwhile."""
    ids = list(range(PROMPT + OUTPUT + MORE + OUTPUT))
    first = {"input_toks": PROMPT, "output_toks": OUTPUT, "tool_duration_ns": AWAY_S * 10**9}
    first |= {"input_tok_ids": ids[:PROMPT], "output_tok_ids": ids[PROMPT : PROMPT + OUTPUT]}
    then = {"input_toks": PROMPT + OUTPUT + MORE, "output_toks": OUTPUT}
    then |= {"input_tok_ids": ids[: PROMPT + OUTPUT + MORE], "output_tok_ids": ids[PROMPT + OUTPUT + MORE :]}
    rows = [{"session_id": "s", "arrival_time_ns": 0, "sub_requests": [first, then]}]
    for i in range(others):
        own = [10_000 * (i + 1) + j for j in range(PROMPT + OUTPUT)]
        row = {"arrival_time_ns": 10**9 + i * 10**8, "input_toks": PROMPT, "output_toks": OUTPUT}
        rows.append(row | {"input_tok_ids": own[:PROMPT], "output_tok_ids": own[PROMPT:]})
    (tmp_path / "w.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"format": "llmservingsim", "path": str(tmp_path / "w.jsonl")}


def sessions(tmp_path, blocks, chunks, others=6, **tier):
    host = {"name": "host", "memory": "dram", "size_gib": chunks * BLOCK_GIB, **tier}
    changes = {
        "workload": workload(tmp_path, others),
        "instances__0__replicas": 1,
        "instances__0__accelerators": ["n0[0]"],
        "instances__0__engine__num_gpu_blocks_override": blocks,
        "kv_offloading__tiers": [host],
    }
    run = ran(tmp_path, **changes)
    for pool in run.pools.values():
        assert pool.counts.allocated == pool.counts.freed + pool.used
        assert all(pins == 0 for *_, pins in pool.internals())
    return tiers(run)


def found(told):
    assert told["kv_sessions"]["turns"] == 1 and told["kv_sessions"]["past_tokens"] == PROMPT + OUTPUT
    return told["kv_sessions"]["found_tokens"]


def test_where_a_turn_that_comes_back_finds_its_past(tmp_path):
    assert found(sessions(tmp_path, 2000, 1000)) == {"device": KNOWN, "host": 0}
    assert found(sessions(tmp_path, 100, 1000)) == {"device": 0, "host": PROMPT}
    assert found(sessions(tmp_path, 100, 45)) == {"device": 0, "host": 0}


def test_what_is_asked_for_too_late_is_gone(tmp_path):
    assert found(sessions(tmp_path, 100, 1000, ttl_s=AWAY_S + 1)) == {"device": 0, "host": PROMPT}
    told = sessions(tmp_path, 100, 1000, ttl_s=AWAY_S - 1)
    assert found(told) == {"device": 0, "host": 0}
    assert told["kv_tiers"]["host"]["expired_chunks"] >= PROMPT // BLOCK
    assert told["kv_tiers"]["host"]["evicted_chunks"] == 0


def test_what_is_pinned_stays_while_its_session_is_away(tmp_path):
    assert found(sessions(tmp_path, 100, 90, others=6)) == {"device": 0, "host": 0}
    assert found(sessions(tmp_path, 100, 90, others=6, pin_sessions=True)) == {"device": 0, "host": PROMPT}


def test_what_is_pinned_expires_all_the_same(tmp_path):
    told = sessions(tmp_path, 100, 90, pin_sessions=True, ttl_s=AWAY_S - 1)
    assert found(told) == {"device": 0, "host": 0}


def test_a_pool_with_nothing_but_pinned_chunks_takes_no_more():
    made = TierPool("pool", 2, 1024, make_eviction("x", "lru"))
    made.written(made.prepare([b"a", b"b"], Owner(0, "s", 0)))
    for chunk in made.pinnable([b"a", b"b", b"c"]):
        chunk.pins += 1
    assert made.prepare([b"c"], Owner(1, "", 0)) is None
    made.pinnable([b"a"])[0].pins -= 1
    assert made.prepare([b"c"], Owner(1, "", 0)) == [b"c"] and made.has(b"b") and not made.has(b"a")


class Clock:
    now_ps = 0


def test_who_is_asked_for_lives_as_long_again_and_who_is_read_stays():
    clock = Clock()
    made = TierPool("pool", 9, 1024, make_eviction("x", "lru"), ttl_ps=10, clock=clock)
    made.written(made.prepare([b"a", b"b", b"c"], Owner(0, "", 0)))
    clock.now_ps = 9
    made.touch([b"a"])
    read = made.read([b"b"])
    clock.now_ps = 10
    assert made.has(b"a") and made.has(b"b") and not made.has(b"c") and made.used == 2
    made.done_reading(read)
    assert made.used == 1 and made.counts.expired == made.counts.freed == 2
    clock.now_ps = 19
    assert made.indifferent


def test_pins_go_with_write_through(tmp_path):
    with pytest.raises(InputError, match=r"kv_offloading\.tiers\.0\.pin_sessions = True: goes with write through"):
        sessions(tmp_path, 100, 90, pin_sessions=True, write="back")

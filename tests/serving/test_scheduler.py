from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.serving.interface import KvConnector, Role
from metronome.orchestrator.serving.kv.pool import BlockPool
from metronome.orchestrator.serving.policies import Priority
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.serving.vllm.request_state import VllmRequestState
from metronome.orchestrator.workload.request import Request

from .engines import complete, vllm
from .naive import Naive, shape

CONFIG = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64, block_size=4)


def request(number, inputs, outputs, ids=None):
    return Request(number, 0, inputs, outputs, None if ids is None else array("q", ids))


@st.composite
def workloads(draw):
    """Requests with when (in steps) they come; few token values, so that prefixes are shared."""
    requests = []
    for number in range(draw(st.integers(1, 14))):
        inputs, outputs = draw(st.integers(1, 40)), draw(st.integers(1, 20))
        ids = None
        if draw(st.booleans()):
            shared = draw(st.integers(0, inputs))
            group = draw(st.integers(0, 1))
            unique = range(1000 * (number + 1), 1000 * (number + 1) + inputs - shared + outputs)
            ids = [group] * shared + list(unique)
        arriving = replace(request(number, inputs, outputs, ids), priority=draw(st.integers(0, 2)))
        requests.append((draw(st.integers(0, 12)), arriving))
    return requests


configs = st.builds(
    SchedulerConfig,
    max_num_seqs=st.integers(1, 10),
    max_num_batched_tokens=st.integers(4, 50),
    long_prefill_token_threshold=st.sampled_from([0, 0, 3, 8]),
    block_size=st.integers(1, 6),
    enable_chunked_prefill=st.just(True),
    enable_prefix_caching=st.booleans(),
    scheduler_reserve_full_isl=st.booleans(),
)

budgets = st.tuples(st.integers(-5, 20), st.integers(1, 12))


@settings(max_examples=400, deadline=None)
@given(workloads(), configs, st.integers(0, 30), st.integers(1, 3), st.booleans(), st.booleans(), budgets)
def test_agrees_with_the_rules_written_plainly(requests, config, spare, lanes, asynchronous, priority, later):
    """With several lanes, steps end in the order they began, as in a pipeline; asynchronously two are in flight.
    ``later``: from a step on another budget of tokens, which may be fewer than decode."""
    least = max(-(-(r.input_tokens + r.output_tokens) // config.block_size) for _, r in requests)
    config = replace(config, async_scheduling=asynchronous)
    lanes, most = (1, 2) if asynchronous else (lanes, lanes)
    policies = {"admission": Priority(), "victims": Priority()} if priority else {}
    fast = vllm(config, least + spare, lanes, async_scheduling=asynchronous, **policies)
    plain = Naive(config, least + spare, priority)
    ended, step, flying, last = [], 0, [], None
    while len(ended) < len(requests):
        if step == later[0]:
            fast.configure("max_num_batched_tokens", later[1])
            plain.c = replace(config, max_num_batched_tokens=later[1])
        for when, arriving in requests:
            if when == step:
                fast.submit(VllmRequestState(arriving))
                plain.add(arriving)
        for _ in range(most - len(flying)):
            if asynchronous and last:
                fast.settle(last)
                last = None
            scheduled, expected = fast.schedule(step), plain.schedule()
            assert (scheduled.batch[:5] if scheduled else None) == (shape(expected) if expected else None), (
                f"step {step}"
            )
            if scheduled:
                flying.append((scheduled, expected))
                last = scheduled
        if flying:
            scheduled, expected = flying.pop(0)
            if not asynchronous or scheduled is last:
                fast.settle(scheduled)
                last = None
            fast.finish(scheduled, step)
            done, due = [s.request.id for s in scheduled.ended], plain.complete(expected)
            assert sorted(done) == sorted(due)
            ended += done
        assert fast.scheduler.pool.free == len(plain.free)
        assert fast.counts.preemptions == plain.preemptions
        assert fast.counts.prefix_hit_tokens == plain.hits
        assert fast.counts.recomputed_tokens == plain.recomputed
        assert fast.scheduler.pool.cached == len(plain.by_hash)
        step += 1
        assert step < 5000, "does not end"
    assert fast.scheduler.pool.free == fast.scheduler.pool.size, "blocks were lost"
    assert fast.load == (0, 0)


def run(scheduler, sequences, steps=1000):
    """All arrive at once; returns each step's batch."""
    for sequence in sequences:
        scheduler.submit(sequence)
    batches = []
    for step in range(steps):
        scheduled = scheduler.schedule(step)
        if scheduled is None:
            return batches
        batches.append(scheduled.batch)
        complete(scheduler, scheduled, step)
    raise AssertionError("does not end")


def test_a_request_takes_its_prompt_and_one_step_a_further_token():
    sequence = VllmRequestState(request(0, 10, 5))
    batches = run(vllm(CONFIG, 100), [sequence])
    assert [batch.prompts for batch in batches] == [(10, 0), (), (), (), ()]
    assert [batch.context_sum for batch in batches[1:]] == [10, 11, 12, 13]
    assert sequence.token_steps == [(0, 0, 5)]
    assert (sequence.first_token_ps, sequence.end_ps) == (0, 4)


def test_a_long_prompt_is_cut_by_the_budget_and_by_the_threshold():
    batches = run(vllm(CONFIG, 100), [VllmRequestState(request(0, 150, 1))])
    assert [batch.prompts for batch in batches] == [(64, 0), (64, 64), (22, 128)]
    batches = run(vllm(replace(CONFIG, long_prefill_token_threshold=50), 100), [VllmRequestState(request(0, 150, 1))])
    assert [batch.prompts for batch in batches] == [(50, 0), (50, 50), (50, 100)]


def test_without_chunking_a_prompt_waits_for_a_whole_budget():
    config = replace(CONFIG, enable_chunked_prefill=False)
    batches = run(vllm(config, 100), [VllmRequestState(request(0, 40, 2)), VllmRequestState(request(1, 40, 2))])
    assert [batch.prompts for batch in batches] == [(40, 0), (40, 0), ()]


def test_the_first_admission_waits_until_the_whole_prompt_fits():
    reserve, eager = vllm(CONFIG, 20), vllm(replace(CONFIG, scheduler_reserve_full_isl=False), 20)
    for scheduler in (reserve, eager):
        scheduler.submit(VllmRequestState(request(0, 40, 3)))
        scheduler.submit(VllmRequestState(request(1, 70, 3)))
        scheduler.schedule(0)
    assert len(reserve.scheduler.running) == 1  # 70 tokens take 18 blocks, 10 are left
    assert len(eager.scheduler.running) == 2  # its first 24 tokens take 6


def test_preemption_takes_the_last_admitted_and_recomputes_it():
    first, last = VllmRequestState(request(0, 8, 20)), VllmRequestState(request(1, 8, 20))
    scheduler = vllm(CONFIG, 9)
    run(scheduler, [first, last])
    assert (first.num_preemptions, last.num_preemptions) == (0, 1)
    assert last.end_ps > first.end_ps
    assert sum(end - start for _, start, end in last.token_steps) == 20
    assert len(last.token_steps) == 2


def test_a_prefix_is_hit_in_whole_blocks_and_one_token_is_always_computed():
    ids = list(range(12))
    scheduler = vllm(CONFIG, 100)
    first = VllmRequestState(request(0, 12, 1, [*ids, 99]))
    again = VllmRequestState(request(1, 12, 1, [*ids, 99]))
    run(scheduler, [first])
    batches = run(scheduler, [again])
    assert again.num_cached_tokens == 8  # 3 full blocks, but the last token has to be computed
    assert batches[0].prompts == (4, 8)


def test_sequences_admitted_in_one_step_share_what_the_first_indexes():
    ids = [*range(12), 99]
    scheduler = vllm(CONFIG, 100)
    scheduler.submit(VllmRequestState(request(0, 12, 1, ids)))
    scheduler.submit(VllmRequestState(request(1, 12, 1, ids)))
    assert scheduler.schedule(0).batch.prompts == (12, 0, 4, 8)


def test_the_cost_of_a_step_does_not_grow_with_what_runs(monkeypatch):
    """Counts the sequences looked at in a steady decode step: those at either edge of a block, no others."""
    config = SchedulerConfig(max_num_seqs=1000, max_num_batched_tokens=100_000, block_size=16)
    scheduler = vllm(config, 100_000)
    for number in range(960):
        scheduler.submit(VllmRequestState(request(number, 16 + number % 16, 100)))
    complete(scheduler, scheduler.schedule(0))
    looked_at = []
    grow = scheduler.scheduler._grow_decoder
    monkeypatch.setattr(scheduler.scheduler, "_grow_decoder", lambda s: looked_at.append(s) or grow(s))
    for step in range(1, 17):
        before = len(looked_at)
        complete(scheduler, scheduler.schedule(step), step)
        assert len(looked_at) - before == 2 * 960 / 16


@pytest.mark.parametrize("blocks", [1, 7])
def test_a_pool_gives_back_what_it_took_last_block_first(blocks):
    scheduler = vllm(CONFIG, 8)
    taken = scheduler.scheduler.pool.get_new_blocks(blocks)
    scheduler.scheduler.pool.free_blocks(taken)
    rest = scheduler.scheduler.pool.get_new_blocks(8 - blocks)
    assert rest == list(range(blocks, 8))
    assert scheduler.scheduler.pool.get_new_blocks(blocks) == taken[::-1]


def test_a_second_block_of_one_hash_is_found_when_the_first_is_taken():
    pool = BlockPool(3)
    first, second = pool.get_new_blocks(2)
    pool.cache_block(first, b"a")
    pool.cache_block(second, b"a")
    assert pool.get_cached_blocks([b"a"], 1) == [first]
    pool.free_blocks([first])
    assert pool.get_new_blocks(2)[1] == first
    assert (pool.get_cached_blocks([b"a"], 1), pool.cached) == ([second], 1)


def test_tokens_of_each_lane_are_in_the_log_of_that_lane():
    scheduler = vllm(CONFIG, 100, 2, first_log=5)
    first, last = (VllmRequestState(request(number, 8, 1)) for number in range(2))
    flying = []
    for sequence in (first, last):
        scheduler.submit(sequence)
        flying.append(scheduler.schedule(0))
    for scheduled in flying:
        complete(scheduler, scheduled)
    assert (first.token_steps, last.token_steps) == ([(5, 0, 1)], [(6, 0, 1)])


def test_queued_are_tokens_of_prompts_that_no_step_computes_yet():
    """What a router that balances tokens is told."""
    scheduler = vllm(CONFIG, 100)
    for number, inputs in enumerate((150, 10)):
        scheduler.submit(VllmRequestState(request(number, inputs, 3)))
    queued = [scheduler.queued_tokens]
    while scheduler.load != (0, 0):
        complete(scheduler, scheduler.schedule(0))
        queued.append(scheduler.queued_tokens)
    assert queued[:4] == [160, 96, 32, 0] and not any(queued[4:])


def test_a_token_on_its_way_counts_for_nobody_when_its_request_is_dropped():
    """It has been preempted while the token is in another lane."""
    scheduler = vllm(CONFIG, 5, 2)
    first, last = VllmRequestState(request(0, 8, 9)), VllmRequestState(request(1, 4, 9))
    flying, given = [], 0
    scheduler.submit(first)
    for step in range(40):
        if step == 1:
            scheduler.submit(last)
        if scheduled := scheduler.schedule(step):
            flying.append(scheduled)
        if last.num_preemptions and not last.aborted:
            assert last.num_in_flight == 1
            had = last.num_output_tokens
            scheduler.abort(last)
        if len(flying) == 2 or (flying and not scheduled):
            complete(scheduler, scheduled := flying.pop(0), step)
            given += scheduled.tokens
    assert (last.aborted, last.num_output_tokens, last.end_ps) == (True, had, -1)
    assert given == first.num_output_tokens + had == 9 + had
    assert scheduler.used_blocks == 0 and scheduler.load == (0, 0)


class Along(KvConnector):
    """The first token comes along with a prompt's K and V."""

    decode_gives_first_token = False

    def reserved(self, state, tokens):
        pass


def handed_over(number, inputs, outputs, ids=None, priority=0):
    """Its prompt and first token come from another engine."""
    sequence = VllmRequestState(replace(request(number, inputs, outputs, ids), priority=priority))
    sequence.remote, sequence.num_output_tokens = True, 1
    return sequence


def decoding(sequences, **policies):
    """An engine that decodes, to which these have come."""
    scheduler = vllm(CONFIG, 100, role=Role.DECODE, **policies)
    scheduler.connector = Along()
    for sequence in sequences:
        scheduler.submit(sequence)
    assert scheduler.schedule(0) is None
    for sequence in sequences:
        scheduler.finished_recving(sequence)
    return scheduler


def test_a_block_that_the_first_token_here_fills_can_be_found_at_once():
    ids = [*range(20)]
    scheduler = decoding([handed_over(0, 7, 5, ids)])
    step = scheduler.schedule(1)
    assert step.batch.context_sum == 7
    complete(scheduler, step)
    assert scheduler.cached_tokens(request(1, 19, 1, ids)) == 8


def test_a_policy_orders_who_waits_together_with_whose_k_and_v_have_come():
    urgent, late = handed_over(0, 7, 5), handed_over(1, 7, 5, priority=5)
    scheduler = decoding([urgent, late], admission=Priority())
    scheduler.submit(VllmRequestState(replace(request(2, 7, 5), priority=3)))
    scheduler.schedule(1)
    assert scheduler.view().running == (0, 2, 1)

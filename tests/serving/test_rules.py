"""What releases of vLLM do in another way, rule by rule: the same requests under 0.19's rules and under 0.33's."""

from __future__ import annotations

from array import array

import pytest
from metronome.orchestrator.serving.interface import KvConnector
from metronome.orchestrator.serving.policies import Priority
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.serving.vllm.request_state import VllmRequestState
from metronome.orchestrator.serving.vllm.rules import V19, V33, rules_of
from metronome.orchestrator.serving.vllm.scheduler import Scheduler
from metronome.orchestrator.workload.request import Image, Request

CONFIG = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64, block_size=4)


class FromElsewhere(KvConnector):
    decode_gives_first_token = True

    def reserved(self, state, tokens):
        pass


def waiting(scheduler, number, inputs, outputs, priority=0, remote=False, images=()):
    ids = array("q", range(1000 * number, 1000 * number + inputs + outputs))
    state = VllmRequestState(Request(number, number, inputs, outputs, ids, priority=priority, images=images))
    state.remote = remote
    scheduler.waiting.append(state)
    return state


def planned(step):
    """By request, how many tokens it computes in the step."""
    rows = {state.request.id: 1 for state in step.lane.decoders.members()}
    return rows | {chunk.state.request.id: chunk.tokens for chunk in step.lane.chunks}


def run(scheduler):
    step = scheduler.schedule(0)
    rows = planned(step)
    scheduler.settle(step)
    scheduler.finish(step)
    return rows


@pytest.mark.parametrize(
    ("version", "rules"),
    [("vllm-0.33", V33), ("vllm@0.33.0", V33), ("vllm-0.19", V19), ("vllm@0.19.0", V19), ("ideal", V19)],
)
def test_a_version_names_its_rules(version, rules):
    assert rules_of(version) is rules


@pytest.mark.parametrize(("rules", "alone"), [(V19, 3), (V33, 10)])
def test_who_is_alone_is_not_held_to_the_threshold(rules, alone):
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64, block_size=4, long_prefill_token_threshold=3)
    scheduler = Scheduler(config, 100, rules=rules)
    waiting(scheduler, 0, 10, 1)
    assert run(scheduler) == {0: alone}
    scheduler = Scheduler(config, 100, rules=rules)
    waiting(scheduler, 0, 10, 1)
    waiting(scheduler, 1, 10, 1)
    assert run(scheduler) == {0: 3, 1: 3}


@pytest.mark.parametrize(("rules", "goes_on"), [(V19, None), (V33, {1: 1})])
def test_those_behind_one_that_preempted_itself_go_on(rules, goes_on):
    """In the sixth step both need a block, none is free, and the first is the least of them."""
    scheduler = Scheduler(CONFIG, 5, admission=Priority(), victims=Priority(), rules=rules)
    waiting(scheduler, 0, 8, 8, priority=5)
    run(scheduler)
    waiting(scheduler, 1, 5, 8, priority=1)
    assert [run(scheduler) for _ in range(4)] == [{0: 1, 1: 5}, *[{0: 1, 1: 1}] * 3]
    step = scheduler.schedule(0)
    assert (step and planned(step)) == goes_on
    assert [state.request.id for state in scheduler.waiting] == [0]


@pytest.mark.parametrize(("rules", "rows"), [(V19, {0: 9}), (V33, {0: 9, 2: 5})])
def test_whose_image_has_no_room_holds_up_nobody(rules, rows):
    scheduler = Scheduler(CONFIG, 100, encoder_tokens=10, rules=rules)
    waiting(scheduler, 0, 9, 1, images=(Image(0, 8, 1),))
    waiting(scheduler, 1, 9, 1, images=(Image(0, 8, 2),))
    waiting(scheduler, 2, 5, 1)
    assert run(scheduler) == rows
    assert [state.request.id for state in scheduler.waiting] == ([1, 2] if rules is V19 else [1])


@pytest.mark.parametrize(("rules", "first"), [(V19, {1: 1}), (V33, {0: 1})])
def test_who_holds_blocks_for_k_and_v_is_first_with_priorities(rules, first):
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=1, block_size=4)
    scheduler = Scheduler(config, 100, admission=Priority(), victims=Priority(), rules=rules)
    scheduler.remote_kvs.connector = FromElsewhere()
    held = waiting(scheduler, 0, 8, 2, priority=5, remote=True)
    assert scheduler.schedule(0) is None and scheduler.remote_kvs.has(held)
    scheduler.remote_kvs.loaded(held)
    waiting(scheduler, 1, 8, 2, priority=1)
    assert run(scheduler) == first


@pytest.mark.parametrize(("rules", "reserved"), [(V19, True), (V33, False)])
def test_k_and_v_come_only_if_blocks_remain_for_prompts_that_have_begun(rules, reserved):
    """Of eight blocks a prompt has four and takes two more; three are free while it has begun."""
    flags = {"scheduler_reserve_full_isl": False, "enable_prefix_caching": False, "long_prefill_token_threshold": 8}
    scheduler = Scheduler(
        SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=9, block_size=4, **flags), 8, rules=rules
    )
    scheduler.remote_kvs.connector = FromElsewhere()
    waiting(scheduler, 0, 24, 1)
    other = waiting(scheduler, 1, 12, 2, remote=True)
    assert run(scheduler) == {0: 8}
    assert scheduler.remote_kvs.has(other) is reserved


@pytest.mark.parametrize(("rules", "free"), [(V19, 10), (V33, 8)])
def test_blocks_that_a_step_in_flight_writes_are_free_when_it_has_ended(rules, free):
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64, block_size=4, async_scheduling=True)
    scheduler = Scheduler(config, 10, rules=rules)
    scheduler.remote_kvs.connector = FromElsewhere()
    state = waiting(scheduler, 0, 8, 4)
    step = scheduler.schedule(0)
    assert scheduler.pool.free == 8
    scheduler.abort(state)
    assert scheduler.pool.free == free
    scheduler.settle(step)
    scheduler.finish(step)
    assert scheduler.pool.free == 10


def test_nobody_is_preempted_whose_blocks_would_not_be_free():
    """The last of two needs no block; the first does, and there is none: in 0.33 both wait for the step in flight."""
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64, block_size=4, async_scheduling=True)
    found = {}
    for rules in (V19, V33):
        scheduler = Scheduler(config, 4, rules=rules)
        scheduler.remote_kvs.connector = FromElsewhere()
        waiting(scheduler, 0, 8, 8)
        waiting(scheduler, 1, 6, 8)
        first = scheduler.schedule(0)
        scheduler.settle(first)
        second = scheduler.schedule(0)
        found[rules] = None if second is None else planned(second), scheduler.counts.preemptions
        if second is None:
            scheduler.finish(first)
            found["then"] = planned(scheduler.schedule(0)), scheduler.counts.preemptions
    assert found == {V19: ({0: 1}, 1), V33: (None, 0), "then": ({0: 1}, 1)}


def test_with_pipeline_stages_a_request_is_in_every_other_step():
    """Three steps are in flight; the tokens of the one two before are counted on."""
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64, block_size=4, async_scheduling=True)
    scheduler = Scheduler(config, 100, lanes=2, rules=V33)
    waiting(scheduler, 0, 4, 9)
    flights, rows = [scheduler.schedule(0)], []
    waiting(scheduler, 1, 4, 9)
    flights.append(scheduler.schedule(0))
    for number in range(6):
        scheduler.settle(flights[number])
        flights.append(scheduler.schedule(0))
        rows.append(planned(flights[-1]))
        scheduler.finish(flights[number])
    assert rows == [{0: 1}, {1: 1}] * 3


@pytest.mark.parametrize("outputs", [9, 2])
def test_a_request_preempted_with_a_token_on_its_way_waits_for_it_and_holds_up_nobody(outputs):
    """Also if it is its last."""
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=64, block_size=4, async_scheduling=True)
    scheduler = Scheduler(config, 4, lanes=2, rules=V33)
    waiting(scheduler, 0, 7, 9)
    waiting(scheduler, 1, 7, outputs)
    flights = [scheduler.schedule(0)]
    assert scheduler.schedule(0) is None
    scheduler.settle(flights[0])
    flights.append(scheduler.schedule(0))  # the token that fills the second block of both
    scheduler.finish(flights[0])
    assert scheduler.schedule(0) is None
    scheduler.settle(flights[1])
    flights.append(scheduler.schedule(0))
    assert planned(flights[-1]) == {0: 1} and scheduler.counts.preemptions == 1
    (preempted,) = scheduler.waiting
    assert preempted.num_in_flight == 1
    waiting(scheduler, 2, 3, 1)
    assert planned(scheduler.schedule(0)) == {2: 3}
    scheduler.finish(flights[1])
    assert preempted.num_in_flight == 0 and preempted.num_output_tokens == 2
    assert list(scheduler.waiting) == ([preempted] if outputs > 2 else [])


@pytest.mark.parametrize(("rules", "kept"), [(V19, [False, False]), (V33, [True, False])])
def test_an_image_is_kept_until_the_step_that_needed_it_has_ended(rules, kept):
    scheduler = Scheduler(CONFIG, 100, encoder_tokens=10, rules=rules)
    waiting(scheduler, 0, 9, 2, images=(Image(0, 8, 1),))
    step = scheduler.schedule(0)
    users = scheduler.encoder._users[1]
    found = [bool(users)]
    scheduler.settle(step)
    scheduler.finish(step)
    assert [*found, bool(users)] == kept


@pytest.mark.parametrize(("rules", "kept"), [(V19, [False, False]), (V33, [True, False])])
def test_an_image_that_a_prompt_repeats_is_kept_until_its_last_is_computed(rules, kept):
    config = SchedulerConfig(max_num_seqs=8, max_num_batched_tokens=12, block_size=4)
    scheduler = Scheduler(config, 100, encoder_tokens=10, rules=rules)
    waiting(scheduler, 0, 30, 1, images=(Image(0, 8, 1), Image(9, 8, 1)))
    found = []
    for _ in range(2):
        run(scheduler)
        found.append(bool(scheduler.encoder._users[1]))
    assert found == kept

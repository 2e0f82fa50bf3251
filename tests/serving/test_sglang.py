"""SGLang's flags, and its rules on cases small enough to check by hand."""

from __future__ import annotations

from array import array
from itertools import pairwise

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import load
from metronome.orchestrator.serving.sglang.engine import SglangEngine
from metronome.orchestrator.serving.sglang.options import SglangOptions, resolve
from metronome.orchestrator.serving.sglang.radix_cache import RadixCache
from metronome.orchestrator.serving.sglang.running_batch import RunningBatch
from metronome.orchestrator.serving.spec import DeviceFacts, EngineSpec
from metronome.orchestrator.workload.request import Request

from .engines import complete


def engine(pages=200, **flags):
    return SglangEngine(EngineSpec("e", SglangOptions(**{"max_running_requests": 8, **flags}), pages, 1000))


def request(number, inputs, outputs, ids=None):
    return Request(number, 0, inputs, outputs, None if ids is None else array("q", ids))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("{max_num_batched_tokens: 512}", "no flag of SGLang: chunked_prefill_size and max_prefill_tokens"),
        ("{page_size: 16, block_size: 4}", "page_size and block_size say the same thing"),
        ("{disable_radix_cache: 'yes'}", "must be true or false"),
        ("{chunked_prefill_size: 0}", "at least 1, or -1"),
        ("{schedule_policy: lpm, scheduling_policy: shortest-job-first}", "give one"),
        ("{schedule_policy: dfs}", "fcfs"),
        ("{enable_mixed_chunk: true}", "unknown key 'enable_mixed_chunk'"),
    ],
)
def test_flags_that_mean_nothing_or_contradict_are_refused(flags, says):
    with pytest.raises(InputError, match=says):
        load("quickstart", [f"instances.0.engine={{version: sglang-0.5.5, {flags[1:]}"])


def test_what_memory_leaves_for_k_and_v_is_as_sglang_reckons():
    """80 GiB: 512 + 8192 x 1.5 + 256 x 2 + 128 MiB are more than 10 GiB; 24 GiB: 512 + 3072 + 48 + 128 MiB."""
    large = resolve(SglangOptions(), DeviceFacts("h100-sxm", 80 * 2**30, 4096))
    small = resolve(SglangOptions(), DeviceFacts("rtx-4090", 24 * 2**30, 4096))
    assert large.gpu_memory_utilization == round((81920 - 13440) / 81920, 3) and large.chunked_prefill_size == 8192
    assert small.gpu_memory_utilization == round((24576 - 3760) / 24576, 3) and small.chunked_prefill_size == 2048


def test_prompts_come_before_decodes():
    of = engine()
    of.submit(of.new_request(request(0, 10, 5)))
    first = of.schedule(0)
    complete(of, first)
    of.submit(of.new_request(request(1, 10, 5)))
    second = of.schedule(1)
    assert second.batch.prompts == (10, 0) and second.batch.decodes == 0
    complete(of, second)
    assert of.schedule(2).batch.decodes == 2


def test_with_overlap_a_request_is_computed_once_more_than_it_has_tokens():
    of = engine()
    of.submit(of.new_request(request(0, 10, 2)))
    prompt = of.schedule(0)
    of.settle(prompt)
    decode = of.schedule(0)
    of.finish(prompt, 0)
    of.settle(decode)
    extra = of.schedule(1)
    of.finish(decode, 1)
    of.settle(extra)
    assert [len(s.ended) for s in (prompt, decode)] == [0, 1]
    assert extra.batch.decodes == 1 and extra.tokens == 0
    of.finish(extra, 2)
    assert of.used_blocks == 0 and of.schedule(3) is None


def test_longest_prefix_first_and_one_of_those_that_share_before_the_others():
    of = engine(400, schedule_policy="lpm", max_running_requests=2)
    cached = list(range(60))
    warm = of.new_request(request(0, 50, 1, cached[:51]))
    of.submit(warm)
    complete(of, of.schedule(0))
    fresh = list(range(1000, 1060))
    for number, ids in ((1, [*fresh, 1]), (2, [*fresh, 2]), (3, cached)):
        of.submit(of.new_request(request(number, len(ids), 3, [*ids, *[9] * 3])))
    step = of.schedule(1)
    assert [s.request.id for s in step.members()] == [3, 1]  # 2 waits so that it can hit what 1 computes


def test_retracted_are_those_with_the_least_output_and_the_longest_prompt():
    of = engine(78, schedule_conservativeness=0.0)
    waited = []
    for now in range(200):
        if now < 3:  # each in a batch of its own: nobody decodes before all three have their first token
            of.submit(of.new_request(request(now, (10, 20, 15)[now], 20)))
        step = of.schedule(now)
        if step is None:
            break
        complete(of, step, now)
        waited += [number for number in of.view().waiting if number not in waited]
    assert waited[:1] == [1] and of.counts.preemptions >= 1
    assert of.load == (0, 0) and of.used_blocks == 0


def test_a_tree_splits_locks_and_evicts_the_least_recently_used_leaf():
    tree = RadixCache(2)
    a, b = array("q", [1, 2, 3, 4, 5, 6]), array("q", [1, 2, 3, 4, 9, 9, 8])
    assert tree.insert(a, 6) == 0 and tree.insert(b, 7) == 4  # the seventh fills no page
    assert tree.size == 8 and tree.match(b, 7)[0] == 6
    _, node = tree.match(a, 6)
    tree.lock(node)
    assert (tree.protected, tree.evictable) == (6, 2)
    assert tree.evict(10) == 2 and tree.match(b, 7)[0] == 4
    tree.unlock(node)
    assert tree.evict(10) == 6 and tree.size == 0


@pytest.mark.parametrize("page_size", [1, 16])
def test_the_cost_of_a_decode_does_not_grow_with_what_runs(page_size, monkeypatch):
    """In a steady decode nobody is looked at, whoever begins a page in it."""
    of = engine(100_000 // page_size, page_size=page_size, max_running_requests=1000)
    for number in range(300):
        of.submit(of.new_request(request(number, 16 + number % 16, 60)))
    looked_at = []
    update = RunningBatch.update
    monkeypatch.setattr(RunningBatch, "update", lambda self, state: looked_at.append(state) or update(self, state))
    sums = []
    for now in range(40):
        step = of.schedule(now)
        complete(of, step, now)
        sums.append(step.batch.context_sum)
    assert not looked_at
    assert [late - soon for soon, late in pairwise(sums[5:])] == [300] * 34
    assert of.look(of.requests()[7]).num_output_tokens == 40  # brought up to date when it is asked for

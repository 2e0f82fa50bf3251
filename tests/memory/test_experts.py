"""Experts off the devices: those that are picked and not there stream, what they leave is the KV cache's."""

from __future__ import annotations

import pytest
import yaml
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.lowering.expert_cache import expert_cache
from metronome.orchestrator.scenario import loading
from metronome.orchestrator.simulation import Simulation

from .test_weights import BANDWIDTH, decode_s, ran

MOE = {
    "instances__0__model": "Qwen/Qwen3-30B-A3B-Instruct-2507",
    "instances__0__weight_offloading": {"memory": "box", "cached_experts": 32},
}
EXPERTS, LAYERS = 128, 48
EXPERT = 3 * 2048 * 768 * 2  # bytes: gate, up and down
WHOLE = {**MOE, "instances__0__weight_offloading": None}


def test_a_decode_step_takes_its_computing_and_the_experts_it_misses(tmp_path):
    plain, run = decode_s(ran(tmp_path, **WHOLE)), ran(tmp_path, **MOE)
    missed = 8 * (1 - 32 / EXPERTS)  # of one token's eight
    assert decode_s(run) == pytest.approx(plain + LAYERS * missed * EXPERT / BANDWIDTH, rel=0.01)
    assert run.streamed["a"].figures()["expert_hit_rate"] == pytest.approx(0.25)


def test_two_instances_on_one_memory_wait_for_one_another(tmp_path):
    alone, plain = decode_s(ran(tmp_path, **MOE)), decode_s(ran(tmp_path, **WHOLE))
    two = ran(tmp_path, 2, workload__request_rate=1e6, **MOE)
    for engine in range(2):
        assert decode_s(two, engine) - plain == pytest.approx(2 * (alone - plain), rel=0.01)


def test_popular_experts_are_there_more_often(tmp_path):
    uneven = {"instances__0__expert_routing": {"model": "zipf"}}
    rate = ran(tmp_path, **MOE, **uneven).streamed["a"].figures()["expert_hit_rate"]
    assert 0.4 < rate < 0.9


def test_what_they_leave_is_the_kv_caches(tmp_path):
    whole, run = ran(tmp_path, **WHOLE), ran(tmp_path, **MOE)
    block = 16 * 2 * 4 * 128 * 2 * LAYERS
    gained = (run.units[0].blocks - whole.units[0].blocks) * block
    assert gained == pytest.approx((EXPERTS - 32) * LAYERS * EXPERT, abs=2 * block)


def test_of_experts_that_are_spread_each_device_keeps_some_of_its_own(tmp_path):
    spread = {
        **MOE,
        "instances__0__accelerators": ["n0[0:2]"],
        "instances__0__tensor_parallel_size": 1,
        "instances__0__data_parallel_size": 2,
        "instances__0__enable_expert_parallel": True,
    }
    run = ran(tmp_path, **spread)
    cache = run.streamed["a"].stream.cache
    assert (cache.first, cache.end, cache.kept) == (0, 64, 32)
    assert cache == expert_cache(run.units[0].routing, 2, 32)
    assert run.streamed["a"].figures()["expert_hit_rate"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("offloading", "told"),
    [
        ({"cached_experts": 128}, r"weight_offloading\.cached_experts = 128: must be below the 128 of a layer"),
        ({"cached_experts": 0}, "greater than or equal to 1"),
        ({"cached_experts": 8, "gib": 3}, "cached_experts goes without gib"),
        ({"cached_experts": 8, "prefetch_step": 1}, "cached_experts goes without prefetch_step"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, offloading, told):
    with pytest.raises(InputError, match=told):
        ran(tmp_path, **{**MOE, "instances__0__weight_offloading": {"memory": "box", **offloading}})


def test_all_experts_lie_in_the_memory(tmp_path):
    with pytest.raises(InputError, match=r"54\.0 GiB would lie in box, which has 50 GiB"):
        ran(tmp_path, **MOE, cluster__memories__0__size_gib=50)


def test_a_dense_model_has_none(tmp_path):
    with pytest.raises(InputError, match=r"Llama-3\.1-8B has no experts"):
        ran(tmp_path, **{**MOE, "instances__0__model": "meta-llama/Llama-3.1-8B"})


def test_the_written_scenario_is_the_same_run(tmp_path):
    content = yaml.safe_load(loading.as_yaml(ran(tmp_path, **MOE).scenario))
    with Simulation(loading.of_mapping(content), tmp_path) as again:
        again.run()
    assert decode_s(again) == decode_s(ran(tmp_path, **MOE))

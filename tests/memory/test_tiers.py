"""Runs with K and V off the devices: what is found, what moves, and that nothing of it is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario import loading
from metronome.orchestrator.simulation import Simulation

from .small import TIERED, ran, tiered, times

HOST = {"name": "host", "memory": "dram", "size_gib": 2}
KEPT = 131072  # bytes of a token of Llama 3.1 8B in bf16: 32 layers x 8 heads x 128 x 2 x 2


def balanced(simulation):
    """Nothing is held, nothing moves, and the books of all pools and of the mover agree."""
    for replica in simulation.replicas:
        assert replica.engine.used_blocks == 0
    stored = recalled = 0
    for pool in simulation.pools.values():
        assert pool.counts.allocated == pool.counts.freed + pool.used and pool.used == pool.whole <= pool.size
        assert all(readers == 0 for _, _, readers, _ in pool.internals())
        stored, recalled = stored + pool.counts.allocated, recalled + pool.counts.hits
    return stored, recalled


def test_what_the_devices_let_go_is_found_in_host_memory(tmp_path):
    with_tier, without = ran(tmp_path), ran(tmp_path, kv_offloading=None)
    stored, recalled = balanced(with_tier)
    assert stored and recalled
    assert with_tier.mover.bytes == (stored + recalled) * 16 * KEPT
    found = [sum(row[3] for row in times(run)) for run in (with_tier, without)]
    assert found[0] > 1.5 * found[1]
    assert len(times(with_tier)) == 60


def test_a_tier_without_room_is_no_tier(tmp_path):
    none = ran(tmp_path, kv_offloading__tiers__0__size_gib=0)
    assert times(none) == times(ran(tmp_path, kv_offloading=None)) and not none.mover.bytes


@pytest.mark.parametrize(
    "beside",
    [
        {"instances__0__engine__enable_prefix_caching": False},
        {"instances__0__engine": {"version": "sglang-0.5.5"}},
        {"kv_offloading__tiers__0__memory": "drum"},
        {"kv_offloading__tiers__0__write": "back", "kv_offloading__chunk_blocks": 2},
    ],
)
def test_no_tier_is_none_whatever_else_is_said(tmp_path, beside):
    with Simulation(tiered(kv_offloading__tiers__0__size_gib=0, **beside), tmp_path) as made:
        assert not made.pools


def test_it_is_the_same_every_time(tmp_path):
    assert times(ran(tmp_path)) == times(ran(tmp_path))


workloads = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "workload__request_rate": st.sampled_from([10, 80, 400]),
        "workload__shared_prefix": st.sampled_from([None, {"groups": 2, "tokens": 480}, {"groups": 9, "tokens": 250}]),
        "instances__0__engine__num_gpu_blocks_override": st.sampled_from([90, 200]),
        "instances__0__engine__async_scheduling": st.booleans(),
        "workload__abort_after_s": st.sampled_from([None, 0.25]),
        "instances__0__engine__block_size": st.sampled_from([16, 32]),
    }
)
tiers = st.fixed_dictionaries(
    {
        "memory": st.sampled_from(["dram", "cxl", "nvme", "pool"]),
        "size_gib": st.sampled_from([0.05, 0.3, 2]),
        "shared_by": st.sampled_from(["instance", "node", "cluster"]),
        "eviction": st.sampled_from(["lru", "lfu", "priority"]),
        "write": st.sampled_from(["through", "back"]),
    }
)
rules = st.fixed_dictionaries(
    {"backend": st.sampled_from(["native", "lmcache"]), "recall": st.sampled_from(["async", "blocking", "layer"])}
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(workloads, st.lists(tiers, min_size=1, max_size=2), rules, st.sampled_from([1, 3]))
def test_nothing_is_lost_whatever_the_tiers(tmp_path_factory, workload, some, how, chunk):
    named = [{"name": f"t{i}", **tier} for i, tier in enumerate(some)]
    if any(tier["write"] == "back" for tier in some):
        chunk = 1
        named = [{**tier, "eviction": tier["eviction"].replace("priority", "lru")} for tier in named]
    changes = {"workload__num_requests": 25, "instances__0__engine__max_num_batched_tokens": 700, **workload}
    changes["kv_offloading"] = {**how, "chunk_blocks": chunk, "tiers": named}
    run = ran(tmp_path_factory.mktemp("run"), **changes)
    stored, recalled = balanced(run)
    assert len(times(run)) + len(run.recorder.failed) == 25
    tokens = chunk * workload["instances__0__engine__block_size"]
    # A recall ends where what the device has begins, and leaves one token to compute: it may move part of two chunks.
    most = (stored + recalled) * tokens * KEPT
    assert stored * tokens * KEPT <= run.mover.bytes <= most


TOKENS = 8000


def again(tmp_path, instances=1, memory="cxl", recall="async", **changes):
    """TTFT in ps of every second asking for one long prompt, all instances at once; another has come between."""
    prompts = {"A": list(range(TOKENS)), "B": list(range(10**6, 10**6 + TOKENS))}
    lines = [
        json.dumps(
            {"input_toks": TOKENS, "output_toks": 2, "arrival_time_ns": at * 10**9, "input_tok_ids": prompts[which]}
        )
        for at, which in ((0, "A"), (5, "B"), (10, "A"))
        for _ in range(instances)
    ]
    (tmp_path / "w.jsonl").write_text("\n".join(lines))
    given = {
        "workload": {"format": "llmservingsim", "path": "w.jsonl"},
        "instances__0__engine__num_gpu_blocks_override": 520,
        "instances__0__replicas": instances,
        "instances__0__accelerators": [f"n0[{2 * i}]" for i in range(instances)],
        "cluster__nodes__0__accelerators__count": 6,
        "kv_offloading": {"recall": recall, "tiers": [{"name": "tier", "memory": memory, "size_gib": 4}]},
    }
    run = ran(tmp_path, **{**given, **changes})
    balanced(run)
    last = sorted(run.recorder.done, key=lambda s: s.request.id)[-instances:]
    moved = sum(pool.counts.hits for pool in run.pools.values()) * 16 * KEPT / instances
    return [s.first_token_ps - s.request.arrival_ps for s in last], moved


@pytest.mark.parametrize("recall", ["async", "blocking"])
def test_a_recall_takes_what_its_bytes_take(tmp_path, recall):
    (slow,), moved = again(tmp_path, recall=recall)
    (fast,), _ = again(tmp_path, memory="dram", recall=recall)
    lanes = 64e9 * 0.86
    assert moved > 0.95 * TOKENS * KEPT
    assert (slow - fast) / 1e12 == pytest.approx(moved / 17.8e9 - moved / lanes, rel=0.01)
    (none,), _ = again(tmp_path, kv_offloading=None)
    assert none > 3 * fast


def test_by_layer_a_recall_hides_behind_what_is_computed(tmp_path):
    (whole,), _ = again(tmp_path, recall="blocking")
    (layer,), moved = again(tmp_path, recall="layer")
    assert moved / 17.8e9 * 1e12 < layer < whole


@pytest.mark.parametrize("instances", [2, 3])
def test_instances_that_recall_from_one_expander_at_once_take_as_many_times_as_long(tmp_path, instances):
    (alone,), _ = again(tmp_path)
    together, moved = again(tmp_path, instances)
    for one in together:
        assert one - alone == pytest.approx((instances - 1) * moved / 17.8e9 * 1e12, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kv_offloading__tiers__0__size_gib": 0.001}, "smaller than a chunk: 16 tokens"),
        ({"kv_offloading__tiers__0__memory": "drum"}, "did you mean 'n0.dram'|no memory drum"),
        ({"cluster__networks__0__connects": ["n0.accelerators", "n0.cxl"]}, "no link reaches it"),
        ({"kv_offloading__tiers__0__size_gib": 60}, "take 120.0 GiB of n0.dram, which has 64 GiB"),
        ({"kv_offloading__instances": ["b"]}, "did you mean|instances: a-0, a-1"),
        ({"instances__0__engine__enable_prefix_caching": False}, "nothing would be found again"),
        ({"instances__0__engine": {"version": "sglang-0.5.5"}}, "keeps K and V on the device"),
        ({"kv_offloading__tiers__0__eviction": "mru"}, "one of lru"),
        ({"kv_offloading__tiers__0__write": "back", "kv_offloading__chunk_blocks": 2}, "chunk_blocks 1"),
        (
            {"kv_offloading__tiers__0": {**HOST, "write": "back", "eviction": "session"}},
            "eviction = 'session': goes with",
        ),
        ({"kv_offloading__tiers__0": {**HOST, "write": "back", "eviction": "priority"}}, "'priority': goes with write"),
        ({"instances__0__engine__kv_offloading_size": 4}, "give one of them"),
        (
            {
                "instances": [
                    {"name": "a", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[0]"},
                    {"name": "b", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[1]"}
                    | {"engine": {"kv_offloading_size": 2}},
                ],
                "kv_offloading": {"instances": ["a"], "tiers": [{**HOST, "name": "cpu"}]},
            },
            "kv_offloading.tiers.0.name = 'cpu': is the name of the tier that",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_time_0(tmp_path, changes, told):
    with pytest.raises(InputError, match=told):
        Simulation(tiered(**changes), tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"engine": {"block_size": 32}}, "engine.block_size"),
        ({"engine": {"kv_cache_dtype": "fp8"}}, "engine.kv_cache_dtype"),
        ({"model": "Qwen/Qwen3-32B", "engine": {"max_model_len": 4096}}, "model"),
        ({"accelerators": "n0[1:3]", "tensor_parallel_size": 2}, "tensor_parallel_size"),
        ({"dtype": "float16"}, r"instances.1.dtype = 'fp16': must be that of a \(bf16\)"),
        ({"quantization": "fp8"}, r"instances.1.quantization = 'fp8': must be that of a \(none\)"),
    ],
)
def test_who_shares_a_pool_is_alike(tmp_path, change, told):
    shared = {"kv_offloading__tiers__0__memory": "pool", "kv_offloading__tiers__0__shared_by": "cluster"}
    made = tiered(**shared, cluster__nodes__0__accelerators__count=3)
    other = {"name": "b", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[1]", **change}
    one = {"name": "a", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[0]"}
    content = made.model_dump(mode="json", exclude_none=True)
    with pytest.raises(InputError, match=f"{told}.*they share the pool host"):
        Simulation(loading.of_mapping({**content, "instances": [one, other]}), tmp_path)


def test_vllms_own_words(tmp_path):
    """`kv_offloading_size` is a pool in the node's host memory, by the rules of its backend."""
    said = ran(tmp_path, kv_offloading=None, instances__0__engine__kv_offloading_size=2)
    assert times(said) == times(ran(tmp_path))
    lmcache = {"kv_offloading_size": 2, "kv_offloading_backend": "lmcache"}
    engine = {f"instances__0__engine__{key}": value for key, value in lmcache.items()}
    ours = {"backend": "lmcache", "tiers": [HOST]}
    assert times(ran(tmp_path, kv_offloading=None, **engine)) == times(ran(tmp_path, kv_offloading=ours))


def test_a_tier_that_nothing_goes_to_changes_nothing(tmp_path):
    """Written to when the device lets go, and it lets nothing go: the same run, and the same leaps over steps."""
    room = {"instances__0__engine__num_gpu_blocks_override": 5000}
    idle = ran(tmp_path, **room, kv_offloading__tiers__0__write="back")
    plain = ran(tmp_path, **room, kv_offloading=None)
    assert times(idle) == times(plain) and not idle.mover.bytes
    assert idle.kernel.events == plain.kernel.events


def test_an_instance_over_two_nodes_has_no_memory_of_its_own_node(tmp_path):
    node = {"accelerators": {"type": "h100-sxm", "count": 1}, "memory": {"dram": {"type": "ddr5-4800", "channels": 8}}}
    nodes = [{"name": name, **node} for name in ("n0", "n1")]
    ends = [f"{name}.{part}" for name in ("n0", "n1") for part in ("accelerators", "dram")]
    net = {
        "name": "net",
        "type": "pcie5-x16",
        "topology": "pcie",
        "connects": ends,
        "scale_out": {"type": "infiniband-ndr"},
    }
    both = {"name": "a", "model": "meta-llama/Llama-3.1-8B", "accelerators": ["n0[0]", "n1[0]"]}
    tiers = {"tiers": [{"name": "host", "memory": "dram", "size_gib": 8}]}
    cluster = {"nodes": nodes, "networks": [net]}
    for part, where in (
        ({"kv_offloading": tiers}, "kv_offloading.tiers.0.memory = 'dram'"),
        (
            {"instances": [{**both, "weight_offloading": {"memory": "dram", "gib": 1}}]},
            "weight_offloading.memory = 'dram'",
        ),
        ({"instances": [{**both, "engine": {"cpu_offload_gb": 1}}]}, "engine.cpu_offload_gb = 1"),
    ):
        scenario = loading.of_mapping(
            {"name": "s", "workload": TIERED["workload"], "cluster": cluster, "instances": [both], **part}, {}
        )
        with pytest.raises(InputError, match=f"{where}.*devices of n0, n1 each have another.* e.g. n0.dram"):
            Simulation(scenario, tmp_path)

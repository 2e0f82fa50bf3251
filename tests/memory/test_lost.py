"""Instances that fail or are scaled, with K and V off their devices: what lies elsewhere stays, what moves is dropped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.errors import StalledError
from metronome.orchestrator.report.tiers import tiers as tiers_of

from .small import ran, times

START = {"start_up": {"base_s": 0.05}, "on_failure": {"retry_s": 0.01}}


def checked(simulation):
    """Every request has ended once, no engine holds anything, and the books of all pools agree."""
    ended = [s.request.id for s in simulation.recorder.done]
    ended += [f.state.request.id for f in simulation.recorder.failed]
    assert sorted(ended) == list(range(simulation.dispatcher.arrived))
    for replica in simulation.replicas:
        assert replica.engine.used_blocks == 0 and replica.load == (0, 0)
    for pool in simulation.pools.values():
        assert pool.counts.allocated == pool.counts.freed + pool.used and pool.used == pool.whole <= pool.size
        assert all(readers == pins == 0 for _, _, readers, pins in pool.internals())
        copied, rest = divmod(pool.counts.bytes_in, pool.chunk_bytes)
        assert not rest and pool.counts.allocated - pool.counts.lost <= copied <= pool.counts.allocated
    return simulation


failures = st.lists(
    st.fixed_dictionaries(
        {
            "at_s": st.floats(0.01, 1.6),
            "instance": st.sampled_from(["a-0", "a-1", "a-*"]),
            "repair_s": st.floats(0, 0.2),
        }
    ),
    min_size=1,
    max_size=4,
)
tiers = st.fixed_dictionaries(
    {
        "memory": st.sampled_from(["dram", "nvme", "pool"]),
        "size_gib": st.sampled_from([0.1, 2]),
        "shared_by": st.sampled_from(["instance", "node", "cluster"]),
        "write": st.sampled_from(["through", "back"]),
    }
)


@settings(max_examples=20, deadline=None)
@given(
    failures,
    tiers,
    st.sampled_from(["async", "blocking", "layer"]),
    st.sampled_from(["vllm-0.19", "vllm-0.33"]),
    st.booleans(),
    st.integers(0, 9),
)
def test_nothing_is_left_whoever_fails_when(tmp_path_factory, failing, tier, recall, version, late, seed):
    # Room for all: with less vLLM 0.19 may stand still (`test_recalls_that_leave_no_room_stand_still`).
    ample = recall == "async" and version == "vllm-0.19"
    run = ran(
        tmp_path_factory.mktemp("lost"),
        **START,
        seed=seed,
        failures=failing,
        kv_offloading__recall=recall,
        kv_offloading__tiers=[{"name": "t", **tier}],
        instances__0__engine__async_scheduling=late,
        instances__0__engine__num_gpu_blocks_override=1500 if ample else 120,
        instances__0__engine__version=version,
    )
    checked(run)


def burst(tmp_path, version):
    return ran(
        tmp_path,
        seed=1,
        workload__request_rate=None,
        workload__num_requests=150,
        workload__rates=[{"rate": 20, "duration_s": 2}, {"rate": 1000, "duration_s": 1}],
        kv_offloading__tiers=[{"name": "t", "memory": "nvme", "size_gib": 2, "shared_by": "node"}],
        instances__0__engine__num_gpu_blocks_override=120,
        instances__0__engine__version=version,
    )


def test_recalls_that_leave_no_room_stand_still(tmp_path):
    """As vLLM 0.19 (vllm-project/vllm, issue 45388): only what is recalled is reserved, so that several that have come
    leave none of them the room for the rest of its prompt."""
    with pytest.raises(StalledError, match="29 requests are not done.* held by requests that wait for more"):
        burst(tmp_path, "vllm-0.19")


def test_recalls_of_later_vllm_leave_room(tmp_path):
    """As vLLM 0.33: also if who runs alone has to give way to those who hold blocks."""
    checked(burst(tmp_path, "vllm-0.33"))


def found(simulation):
    return sum(row[3] for row in times(simulation))


def test_a_pool_of_its_own_is_lost_with_an_instance_and_others_are_not(tmp_path):
    alone = {"instances__0__replicas": 1, "instances__0__accelerators": ["n0[0]"]}
    failing = [{"at_s": 1.4, "instance": "a", "repair_s": 0.1}]  # all prompts have come, most are computed
    runs = {}
    for shared_by in ("instance", "node"):
        tier = {"name": "t", "memory": "dram", "size_gib": 8, "shared_by": shared_by}
        runs[shared_by] = checked(ran(tmp_path, **START, **alone, kv_offloading__tiers=[tier], failures=failing))
    own, shared = (next(iter(run.pools.values())).counts for run in runs.values())
    assert own.freed > 5 * shared.freed  # of what the node keeps only what was being written
    assert found(runs["instance"]) < found(runs["node"])
    for run in runs.values():  # all had room: nothing was let go for others
        told = tiers_of(run)["kv_tiers"]["t"]
        resident = told["used_gib"] * 2**30 / told["chunk_bytes"]
        assert told["evicted_chunks"] == 0 < told["lost_chunks"]
        assert told["stored_chunks"] == resident + told["lost_chunks"]


def test_replicas_that_are_scaled_find_what_others_left(tmp_path):
    scaled = {"autoscaling": [{"instance": "a", "min_replicas": 1, "policy": "queue", "target": 1, "period_s": 0.1}]}
    shared = {"kv_offloading__tiers": [{"name": "t", "memory": "pool", "size_gib": 8, "shared_by": "cluster"}]}
    own = {"kv_offloading__tiers": [{"name": "t", "memory": "dram", "size_gib": 8}]}
    assert found(checked(ran(tmp_path, **START, **scaled, **shared))) > found(
        checked(ran(tmp_path, **START, **scaled, **own))
    )

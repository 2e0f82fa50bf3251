"""Tiers of instances that compute prompts, whose K and V go on to instances that decode."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario import loading
from metronome.orchestrator.simulation import Simulation

from .small import TIERED, times
from .test_lost import START, checked
from .test_tiers import KEPT

ENGINE = {"max_num_seqs": 16, "max_num_batched_tokens": 1024, "num_gpu_blocks_override": 200}
LLAMA = {"model": "meta-llama/Llama-3.1-8B", "engine": ENGINE}


def apart(**changes):
    """The small scenario, its two instances one that computes prompts and one that decodes."""
    content = copy.deepcopy(TIERED)
    content["instances"] = [
        {"name": "p", "role": "prefill", "accelerators": "n0[0]", **LLAMA},
        {"name": "d", "role": "decode", "accelerators": "n0[1]", **LLAMA},
    ]
    content["router"] = {"policy": "pd-aware"}
    return loading.of_mapping(content, {path.replace("__", "."): value for path, value in changes.items()})


def ran(tmp_path, **changes):
    with Simulation(apart(**changes), tmp_path) as simulation:
        simulation.run()
    return checked(simulation)


def test_prompts_find_what_others_began_with(tmp_path):
    """The tier is written to and read by the instance that computes prompts, and by nobody else."""
    tiered, plain = ran(tmp_path), ran(tmp_path, kv_offloading=None)
    assert list(tiered.pools) == ["p/host"]
    (counts,) = (pool.counts for pool in tiered.pools.values())
    assert counts.allocated and counts.hits
    handed = sum(tokens for tokens in [tiered.connector.tokens])
    assert tiered.mover.bytes == ((counts.allocated + counts.hits) * 16 + handed) * KEPT
    found = [sum(row[3] for row in times(run)) for run in (tiered, plain)]
    assert found[0] > 1.5 * found[1]
    ttft = [sum(row[1] for row in times(run)) for run in (tiered, plain)]
    assert ttft[0] < ttft[1]


def test_a_tier_without_room_is_no_tier(tmp_path):
    none = ran(tmp_path, kv_offloading__tiers__0__size_gib=0)
    assert times(none) == times(ran(tmp_path, kv_offloading=None))


def test_blocks_stay_until_they_have_left_both_ways(tmp_path):
    """The cache holds one prompt at a time, and its way into the tier is far slower than that to who decodes."""
    rate_gb_s = 0.5
    run = ran(
        tmp_path,
        workload__shared_prefix=None,
        workload__num_requests=20,
        instances__0__engine__num_gpu_blocks_override=80,
        cluster__nodes__0__memory__dram__bandwidth_gb_s=rate_gb_s,
    )
    written = [pool.counts.allocated * 16 * KEPT for pool in run.pools.values()]
    last_ps = max(row[1] for row in times(run))
    assert last_ps > 0.9 * sum(written) / (rate_gb_s * 1e9) * 1e12


runs = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "kv_transfer": st.sampled_from(
            [{"mode": "pull"}, {"mode": "push"}, {"mode": "push", "granularity": "layer"}, {"connector": "distserve"}]
        ),
        "kv_offloading__recall": st.sampled_from(["async", "blocking", "layer"]),
        "kv_offloading__backend": st.sampled_from(["native", "lmcache"]),
        "kv_offloading__chunk_blocks": st.just(1),
        "kv_offloading__tiers__0__write": st.sampled_from(["through", "back"]),
        "kv_offloading__tiers__0__memory": st.sampled_from(["dram", "nvme", "pool"]),
        "kv_offloading__tiers__0__size_gib": st.sampled_from([0.1, 2]),
        "workload__abort_after_s": st.sampled_from([None, 0.1]),
        "instances__0__engine__async_scheduling": st.booleans(),
        "instances__0__engine__num_gpu_blocks_override": st.sampled_from([400, 2000]),
    }
)
failures = st.lists(
    st.fixed_dictionaries(
        {"at_s": st.floats(0.01, 1.6), "instance": st.sampled_from(["p", "d"]), "repair_s": st.floats(0, 0.2)}
    ),
    max_size=3,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(runs, failures)
def test_nothing_is_left_whoever_gives_up_or_fails(tmp_path_factory, changes, failing):
    more = {**START, "failures": failing} if failing else {}
    ran(tmp_path_factory.mktemp("apart"), **changes, **more)


def test_who_decodes_has_none(tmp_path):
    with pytest.raises(InputError, match="d decodes: K and V of its prompts come from"):
        Simulation(apart(kv_offloading__instances=["d"]), tmp_path)

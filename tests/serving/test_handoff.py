"""Prefill and decode on different engines: what moves, who waits, what comes out."""

from __future__ import annotations

import csv
import json

import pytest
from metronome.orchestrator.report.result import Ending
from metronome.orchestrator.report.results import write
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation

KV_TOKEN_BYTES = 2 * 8 * 128 * 32 * 2  # K and V, 8 heads of 128, 32 layers, bf16: Llama-3.1-8B

SCENARIO = {
    "name": "pd",
    "seed": 5,
    "workload": {
        "format": "synthetic",
        "num_requests": 24,
        "request_rate": 60,
        "input_tokens": {"mean": 700, "max": 2000},
        "output_tokens": {"mean": 40, "min": 2},
    },
    "cluster": {
        "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 4}}],
        "networks": [{"name": "net", "type": "nvlink4", "connects": ["n0.accelerators"]}],
    },
    "instances": [
        {"name": "p", "role": "prefill", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[0:2]"},
        {"name": "d", "role": "decode", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[2:4]"},
    ],
}
BETWEEN = {"connector": "distserve"}  # K and V move between the first and the second token
MODES = {"pull": {"mode": "pull"}, "push": {"mode": "push"}, "layer": {"mode": "push", "granularity": "layer"}}


def run(folder, fold=True, **changes):
    with Simulation(validate({**SCENARIO, **changes}, "test"), folder, fold=fold) as simulation:
        simulation.run()
        write(simulation, folder, 0.0, Ending())
    rows = list(csv.DictReader((folder / "requests.csv").open()))
    result = json.loads((folder / "result.json").read_text())
    return rows, result, simulation


def engines(options, **engine):
    return [
        {**instance, "engine": engine.get(instance["name"], {}), **options.get(instance["name"], {})}
        for instance in SCENARIO["instances"]
    ]


@pytest.mark.parametrize("mode", MODES)
def test_k_and_v_of_every_prompt_token_cross_the_network_and_nothing_else(tmp_path, mode):
    rows, result, simulation = run(tmp_path, kv_transfer=MODES[mode])
    tokens = sum(int(row["input"]) for row in rows)
    moved = result["metronome"]["kv_transfers"]
    assert (moved["requests"], moved["tokens"], moved["bytes"]) == (24, tokens, tokens * KV_TOKEN_BYTES)
    sent = sum(
        size
        for row in simulation.ports.statistics("net")["links"]
        if row["link"].startswith(("n0.0->", "n0.1->"))
        for who, size in row["users"].items()
        if "kv_transfer" in who
    )
    assert sent == pytest.approx(tokens * KV_TOKEN_BYTES, rel=1e-6)
    assert {row["instance"] for row in rows} == {"p>d"}


def given(simulation):
    """Tokens that the prefill and the decode instance gave."""
    return [
        sum(sum(simulation.recorder.logs[lane].output_tokens) for lane in lanes)
        for lanes in simulation.recorder.lanes_of
    ]


@pytest.mark.parametrize("mode", MODES)
def test_by_distserve_the_first_token_comes_from_the_prefill_engine_and_all_come_once(tmp_path, mode):
    rows, _, simulation = run(tmp_path, kv_transfer={**MODES[mode], "connector": "distserve"})
    prefill, decode = given(simulation)
    assert prefill == len(rows)
    assert prefill + decode == sum(int(row["output"]) for row in rows)
    for engine in (replica.engine for replica in simulation.replicas):
        assert engine.used_blocks == 0, "blocks were lost"


@pytest.mark.parametrize("mode", MODES)
def test_by_nixl_the_decode_engine_gives_all_tokens_and_the_transfer_is_the_users_ttft(tmp_path, mode):
    """Each request costs it one more step; what the prefill engine gives nobody is sent."""
    rows, result, simulation = run(tmp_path, kv_transfer=MODES[mode])
    prefill, decode = given(simulation)
    assert prefill == len(rows) and decode == sum(int(row["output"]) for row in rows)
    for state in simulation.recorder.done:
        assert state.scheduled_ps < state.origin.first_token_ps < state.first_token_ps <= state.end_ps
        assert state.num_output_tokens == state.request.output_tokens
    assert result["metronome"]["kv_transfers"]["mean_prefill_ttft_ms"] < result["mean_ttft_ms"]
    for engine in (replica.engine for replica in simulation.replicas):
        assert engine.used_blocks == 0, "blocks were lost"


def test_one_token_is_the_prefill_engines_alone_unless_the_connector_says_otherwise(tmp_path):
    one = {**SCENARIO["workload"], "output_tokens": {"mean": 1, "max": 1}}
    for connector, where in (("distserve", "p"), ("nixl", "p>d")):
        rows, _, _ = run(tmp_path / connector, workload=one, kv_transfer={"connector": connector})
        assert {row["instance"] for row in rows} == {where} and len(rows) == 24


def test_a_connector_that_loads_within_a_step_is_warned_about(tmp_path):
    _, result, _ = run(tmp_path, kv_transfer={"connector": "lmcache"})
    assert any("lmcache" in text for text in result["metronome"]["warnings"])


@pytest.mark.parametrize("mode", MODES)
def test_a_full_decode_side_makes_the_prefill_side_wait_and_nothing_aborts(tmp_path, mode):
    """The decode pool holds two requests at a time; the prefill pool a few more."""
    small = {"num_gpu_blocks_override": 260}
    instances = engines({}, p={"num_gpu_blocks_override": 400}, d=small)
    rows, result, simulation = run(tmp_path, kv_transfer=MODES[mode], instances=instances)
    assert result["completed"] == 24 and result["failed"] == 0
    roomy, _, _ = run(tmp_path / "roomy", kv_transfer=MODES[mode])
    waited = sum(int(row["ttft"]) for row in rows)
    assert waited > 1.2 * sum(int(row["ttft"]) for row in roomy), "the prefill side did not feel it"
    for engine in (replica.engine for replica in simulation.replicas):
        assert engine.used_blocks == 0


def test_by_layer_hides_most_of_the_transfer(tmp_path):
    """Over a slow network the whole prompt's K and V take long after the first token; by layer they overlap it."""
    cluster = {**SCENARIO["cluster"], "networks": [{**SCENARIO["cluster"]["networks"][0], "bandwidth_gb_s": 15}]}
    workload = {**SCENARIO["workload"], "request_rate": 2}

    def second_token(mode):
        rows, _, _ = run(tmp_path / mode, kv_transfer=MODES[mode] | BETWEEN, cluster=cluster, workload=workload)
        return sum(float(row["e2el"]) - float(row["ttft"]) for row in rows)

    assert second_token("layer") < second_token("push")


@pytest.mark.parametrize("mode", MODES)
def test_folded_and_unfolded_are_equal(tmp_path, mode):
    folded = run(tmp_path / "a", kv_transfer=MODES[mode])
    unfolded = run(tmp_path / "b", fold=False, kv_transfer=MODES[mode])
    assert folded[0] == unfolded[0]
    keys = ("mean_ttft_ms", "mean_tpot_ms", "p99_e2el_ms", "duration")
    assert [folded[1][key] for key in keys] == [unfolded[1][key] for key in keys]


def test_different_degrees_of_parallelism_on_the_two_sides(tmp_path):
    """TP 2 before, PP 2 after: each device sends what its like needs; the sum is the same."""
    options = {"d": {"tensor_parallel_size": 1, "pipeline_parallel_size": 2}}
    rows, result, _ = run(tmp_path, instances=engines(options))
    tokens = sum(int(row["input"]) for row in rows)
    assert result["metronome"]["kv_transfers"]["bytes"] == tokens * KV_TOKEN_BYTES


def test_a_prefix_the_decode_side_has_need_not_move_but_one_the_prefill_side_has_must(tmp_path):
    shared = {**SCENARIO["workload"], "shared_prefix": {"groups": 1, "tokens": 320}, "request_rate": 5}
    off = {"enable_prefix_caching": False}
    both, result, _ = run(tmp_path / "both", workload=shared)
    tokens = sum(int(row["input"]) for row in both)
    assert result["metronome"]["kv_transfers"]["tokens"] <= tokens - 20 * 320
    rows, result, _ = run(tmp_path / "one", workload=shared, instances=engines({}, d=off))
    assert sum(int(row["prefix_hit"]) for row in rows) > 20 * 320
    assert result["metronome"]["kv_transfers"]["tokens"] == tokens


def test_two_instances_over_one_adapter_finish_later_than_alone(tmp_path):
    """Both prefill instances send through the one slow adapter of their node."""
    node = {"accelerators": {"type": "h100-sxm", "count": 2}}
    net = {
        "name": "net",
        "type": "nvlink4",
        "connects": ["n0.accelerators", "n1.accelerators"],
        "scale_out": {"bandwidth_gb_s": 2, "latency_ns": 5000, "nics_per_node": 1},
    }
    cluster = {"nodes": [{"name": "n0", **node}, {"name": "n1", **node}], "networks": [net]}
    model = {"model": "meta-llama/Llama-3.1-8B"}

    def instances(numbers):
        return [
            {"name": f"{role[0]}{i}", "role": role, "accelerators": f"n{n}[{i}]", **model}
            for i in numbers
            for n, role in enumerate(("prefill", "decode"))
        ]

    def mean(numbers, requests):
        workload = {**SCENARIO["workload"], "num_requests": requests, "request_rate": 20 * len(numbers)}
        rows, _, _ = run(
            tmp_path / str(len(numbers)),
            cluster=cluster,
            workload=workload,
            instances=instances(numbers),
            router={"policy": "round-robin"},
            kv_transfer=BETWEEN,
        )
        return sum(float(row["e2el"]) - float(row["ttft"]) for row in rows) / len(rows)

    assert mean([0, 1], 24) > 1.1 * mean([0], 12)


@pytest.mark.parametrize("mode", ["pull", "layer"])
def test_the_network_in_a_process_of_its_own_changes_no_byte(tmp_path, mode):
    workload = {**SCENARIO["workload"], "num_requests": 6}
    inside = run(tmp_path / "in", kv_transfer=MODES[mode], workload=workload)
    outside = run(tmp_path / "out", kv_transfer=MODES[mode], workload=workload, components={"net": {"run": "process"}})
    assert inside[0] == outside[0]
    for result in (inside[1], outside[1]):
        own = result["metronome"]
        del own["wall_s"], own["startup_s"]
        for component in own["components"].values():
            del component["wall_s"]
    assert inside[1] == outside[1]

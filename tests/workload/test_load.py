"""How requests are sent: rates, ramps, closed loops, classes; and the odd ones among a thousand."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import metronome
import numpy as np
import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.schema import Scenario
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.workload.reading import read
from metronome.orchestrator.workload.registry import Reading
from metronome.orchestrator.workload.schema import parse

CLUSTER = {
    "cluster": {"nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 1}}]},
    "instances": [
        {
            "name": "i",
            "model": "meta-llama/Llama-3.1-8B",
            "accelerators": "n0[0:1]",
            "engine": {"max_model_len": 16384, "max_num_seqs": 256, "max_num_batched_tokens": 8192},
        }
    ],
}


def run(folder, **workload):
    return metronome.run({**CLUSTER, "workload": workload}, folder=folder)


def times(**workload):
    return [r.arrival_ps / 1e12 for r in read(parse(workload), Reading(lambda name: None))]


TINY = {"format": "random", "num_prompts": 500, "random_input_len": 64, "random_output_len": 4}


def test_a_rate_is_met_to_the_last_request_as_vllms_client_does():
    assert times(**TINY, request_rate=10)[-1] == pytest.approx(50)
    assert times(**TINY) == [0] * 500


@pytest.mark.parametrize(("shape", "variation"), [(0.25, 2.0), (1.0, 1.0), (4.0, 0.5)])
def test_burstiness_is_the_shape_of_gamma_gaps(shape, variation):
    gaps = np.diff(times(**{**TINY, "num_prompts": 5000}, request_rate=10, burstiness=shape))
    assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.15)


@pytest.mark.parametrize("strategy", ["linear", "exponential"])
def test_a_ramp_goes_from_rate_to_rate_by_request(strategy):
    ramp = {"ramp_up_strategy": strategy, "ramp_up_start_rps": 1, "ramp_up_end_rps": 100}
    gaps = np.diff(times(**{**TINY, "num_prompts": 101}, **ramp, burstiness="inf"))
    middle = 50.5 if strategy == "linear" else 10
    assert [1 / gaps[0], 1 / gaps[49], 1 / gaps[-1]] == pytest.approx([1, middle, 100], rel=0.06, abs=1)


def test_rates_follow_one_another():
    rates = [{"rate": 10, "duration_s": 5}, {"rate": 0, "duration_s": 5}, {"rate": 100, "duration_s": 1}]
    found = np.array(times(**TINY, rates=rates, burstiness="inf"))
    assert (found <= 5).sum() == 50 and not ((found > 5) & (found <= 10)).any()
    assert found[-1] == pytest.approx(10 + 450 / 100)


def test_vllms_range_ratio_and_prefix():
    options = {**TINY, "random_range_ratio": {"input": 0.5}, "random_prefix_len": 32}
    found = list(read(parse(options), Reading(lambda name: None)))
    lengths = {r.input_tokens for r in found}
    assert (min(lengths), max(lengths)) == (32 + 32, 96 + 32) and {r.output_tokens for r in found} == {4}
    assert len({tuple(r.token_ids[:32]) for r in found}) == 1 < len({tuple(r.token_ids[:40]) for r in found})


@pytest.mark.parametrize(
    ("flags", "ours"),
    [
        (
            {"format": "prefix_repetition", "prefix_repetition_prefix_len": 9, "prefix_repetition_num_prefixes": 2},
            {"format": "prefix_repetition", "prefix_len": 9, "num_prefixes": 2},
        ),
        (
            {"format": "sharegpt", "path": "s.json", "sharegpt_output_len": 7, "num_prompts": 3},
            {"format": "sharegpt", "path": "s.json", "output_len": 7, "limit": 3},
        ),
        (
            {"format": "timed_trace", "path": "s.jsonl", "timed_trace_sec_multiplier": 0.001},
            {"format": "timed_trace", "path": "s.jsonl", "sec_multiplier": 0.001},
        ),
    ],
)
def test_flags_of_vllm_bench_are_known_by_their_whole_names(flags, ours):
    assert parse(flags) == parse(ours)
    (long, *_), (short, *_) = (sorted(one.keys() - other.keys()) for one, other in ((flags, ours), (ours, flags)))
    with pytest.raises(ValueError, match=f"{long} and {short} say the same thing: give one"):
        parse({**ours, long: flags[long]})


def test_prefix_repetition_and_sonnet_share_their_prefixes(tmp_path):
    few = {"format": "prefix_repetition", "num_prompts": 40, "num_prefixes": 4, "output_len": 4}
    assert run(tmp_path, **few, request_rate=2)["metronome"]["prefix_hit_tokens"] == 36 * 256
    sonnet = run(tmp_path, format="sonnet", num_prompts=10, request_rate=2)
    assert sonnet["metronome"]["prefix_hit_tokens"] == 9 * (200 // 16 * 16)


def spread(result):
    """How far apart the arrivals of each wave of 32 are, ms, from the second wave on."""
    arrivals = np.sort(np.array(result.requests["arrival"])) / 1e6
    waves = arrivals[: len(arrivals) // 32 * 32].reshape(-1, 32)[1:]
    return float(np.median(waves[:, -1] - waves[:, 0]))


DRAWN = {"format": "synthetic", "num_requests": 3, "request_rate": 5, "output_tokens": {"mean": 4}}


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        ({**TINY, "burstiness": 2.0}, "burstiness"),
        ({**TINY, "request_rate": "inf", "burstiness": 2.0}, "burstiness"),
        ({**TINY, "client": {"think_ms": 5}}, "client"),
        ({**DRAWN, "input_tokens": {"mean": 8, "spread": 0.1}}, "input_tokens.spread"),
        ({**DRAWN, "input_tokens": {"distribution": "fixed", "mean": 8, "sigma": 1}}, "input_tokens.sigma"),
        ({**TINY, "request_rate": "inf", "burstiness": 1.0}, None),
        ({**TINY, "max_concurrency": 2, "client": {"think_ms": 5}}, None),
        ({**DRAWN, "burstiness": 2.0, "input_tokens": {"mean": 8, "sigma": 1}}, None),
    ],
)
def test_what_changes_nothing_is_said(workload, said):
    reading = Reading(lambda name: None)
    list(read(parse(workload), reading))
    assert [note.split(",")[0] for note in reading.notes] == ([f"without effect: {said}"] if said else [])


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        ({**DRAWN, "input_tokens": {"mean": 8, "min": 9, "max": 3}}, "min 9 is above max 3"),
        (
            {"format": "mixture", "classes": [{"name": "a", "workload": {**TINY, "client": {"think_ms": 5}}}]},
            "client is of",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(workload, message):
    with pytest.raises(ValueError, match=message):
        parse(workload)


FIXED = {"format": "random", "num_prompts": 320, "max_concurrency": 32, "random_input_len": 128}


def test_equal_lengths_are_not_kept_in_step_by_a_client_that_takes_no_time(tmp_path):
    still = run(tmp_path, **FIXED, client={"send_ms": 0, "jitter": 0})
    real = run(tmp_path, **FIXED)
    assert spread(still) == 0 and spread(real) > 10
    assert real["mean_ttft_ms"] < 0.8 * still["mean_ttft_ms"]


def test_a_client_thinks_and_its_network_takes_time(tmp_path):
    one = {**FIXED, "num_prompts": 5, "max_concurrency": 1}
    rows = list(run(tmp_path, **one, client={"think_ms": 70, "network_ms": 20, "send_ms": 10, "jitter": 0}).requests)
    gaps = [b["arrival"] - a["end"] for a, b in pairwise(rows)]
    assert rows[0]["arrival"] == 30 * 10**6 and all(gap == pytest.approx(100e6, abs=2) for gap in gaps)


def test_classes_have_their_own_priority_and_promise(tmp_path):
    chat = {**TINY, "num_prompts": 30, "request_rate": 5}
    classes = [
        {"name": "chat", "workload": chat, "priority": 0, "slo": {"ttft_ms": 1000}},
        {"name": "batch", "workload": {**chat, "num_prompts": 10}, "priority": 9, "slo": {"ttft_ms": 0.001}},
    ]
    result = run(tmp_path, format="mixture", classes=classes)
    found = result["metronome"]["classes"]
    assert (found["chat"]["completed"], found["chat"]["good"]) == (30, 30)
    assert (found["batch"]["completed"], found["batch"]["good"]) == (10, 0)
    assert result["request_goodput"] == pytest.approx(30 / result["duration"])


@pytest.mark.parametrize(
    ("policy", "priority", "own", "told"),
    [("fcfs", 3, 0, True), ("fcfs", None, 2, True), ("fcfs", 0, 2, False), ("priority", 3, 0, False)],
)
def test_a_priority_that_nobody_looks_at_is_said_to_have_no_effect(tmp_path, policy, priority, own, told):
    """A class has its own, or leaves its requests theirs."""
    row = {"arrival_time_ns": 0, "input_toks": 10, "output_toks": 2, "priority": own}
    (tmp_path / "w.jsonl").write_text(json.dumps(row) + "\n")
    of = {"name": "a", "workload": {"format": "llmservingsim", "path": "w.jsonl"}, "priority": priority}
    scenario = {**CLUSTER, "workload": {"format": "mixture", "classes": [of]}}
    scenario["instances"] = [{**one, "engine": {"scheduling_policy": policy}} for one in CLUSTER["instances"]]
    with Simulation(Scenario.model_validate(scenario), tmp_path) as simulation:
        assert any(text.startswith("priority of requests has no effect") for text in simulation.warnings) == told


def odd(kind, row):
    return {
        "max_model_len": {**row, "input_toks": 16000, "output_toks": 1000},
        "no_output": {**row, "output_toks": 0},
        "empty_prompt": {**row, "input_toks": 0},
        "kv_cache": {**row, "input_toks": 9000},
        "cancelled": {**row, "output_toks": 2000, "abort_after_ns": 10**8},
    }[kind]


def thousand(folder, kinds):
    """A thousand requests 20 ms apart; every 33rd is odd, of each kind in turn, where there are kinds."""
    rows = []
    for number in range(1000):
        row = {"arrival_time_ns": number * 2 * 10**7, "input_toks": 100 + number % 50, "output_toks": 20}
        if number % 33 == 5 and number < 970 and kinds:
            row = odd(kinds[number // 33 % len(kinds)], row)
        rows.append(row)
    (folder / "w.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scenario = {**CLUSTER, "workload": {"format": "llmservingsim", "path": "w.jsonl"}}
    engine = {**CLUSTER["instances"][0]["engine"], "num_gpu_blocks_override": 500}
    return {**scenario, "instances": [{**CLUSTER["instances"][0], "engine": engine}]}


def test_thirty_odd_ones_in_a_thousand(tmp_path):
    kinds = ["max_model_len", "no_output", "empty_prompt", "kv_cache", "cancelled"]
    scenario = thousand(tmp_path, kinds)
    result = metronome.run(scenario, folder=tmp_path, out=tmp_path / "out")
    assert (result["completed"], result["failed"], result["num_prompts"]) == (970, 30, 1000)
    assert result["metronome"]["failed"] == dict.fromkeys(sorted(kinds), 6)
    assert Counter(result.failures["reason"]) == dict.fromkeys(kinds, 6)
    assert len((tmp_path / "out" / "failed.csv").read_text().splitlines()) == 31
    with pytest.raises(InputError, match="request 5: input . output tokens = 17000"):
        metronome.run(scenario, folder=tmp_path, strict=True)


def test_the_rest_is_as_without_those_that_never_entered(tmp_path):
    kinds = ["max_model_len", "no_output", "empty_prompt", "kv_cache"]
    served = metronome.run(thousand(tmp_path, kinds), folder=tmp_path)
    lines = (tmp_path / "w.jsonl").read_text().splitlines()
    refused = set(served.failures["id"])
    kept = [line for number, line in enumerate(lines) if number not in refused]
    scenario = thousand(tmp_path, [])
    (tmp_path / "w.jsonl").write_text("\n".join(kept))
    without = metronome.run(scenario, folder=tmp_path)
    assert len(refused) == 30 and [row[1:] for row in served.requests.rows] == [
        row[1:] for row in without.requests.rows
    ]


def test_what_a_cancelled_request_held_is_free(tmp_path):
    """All give up; afterwards one that needs nearly all blocks is served at once."""
    rows = [{"arrival_time_ns": 0, "input_toks": 1000, "output_toks": 3000, "abort_after_ns": 10**9} for _ in range(6)]
    rows.append({"arrival_time_ns": 2 * 10**9, "input_toks": 7900, "output_toks": 5})
    scenario = thousand(tmp_path, [])
    (tmp_path / "w.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = metronome.run(scenario, folder=tmp_path)
    assert result["metronome"]["failed"] == {"cancelled": 6} and result["completed"] == 1
    assert result["mean_ttft_ms"] < 1000 and result["metronome"]["preemptions"] == 0


@pytest.mark.parametrize("mode", [{}, {"mode": "push"}, {"mode": "push", "granularity": "layer"}])
@pytest.mark.parametrize("after_ms", [1, 5, 12, 20, 21, 22, 24, 40, 200])
def test_clients_give_up_between_prefill_and_decode(tmp_path, mode, after_ms):
    """Wherever a request is when its client goes, both engines end empty and the others are served."""
    rows = [{"arrival_time_ns": i * 10**7, "input_toks": 1500, "output_toks": 30} for i in range(24)]
    for row in rows[::2]:
        row["abort_after_ns"] = after_ms * 10**6
    (tmp_path / "w.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    instance = {**CLUSTER["instances"][0], "engine": {"max_model_len": 4096, "num_gpu_blocks_override": 400}}
    scenario = {
        "workload": {"format": "llmservingsim", "path": "w.jsonl"},
        "cluster": {
            "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 2}}],
            "networks": [{"name": "net", "connects": ["n0.accelerators"], "type": "pcie5-x16"}],
        },
        "instances": [
            {**instance, "name": "p", "role": "prefill"},
            {**instance, "name": "d", "role": "decode", "accelerators": "n0[1:2]"},
        ],
        "kv_transfer": mode,
    }
    result = metronome.run(scenario, folder=tmp_path)
    assert result["completed"] + result["failed"] == 24 and result["completed"] >= 12
    assert result.series["kv_used"][-1] == 0 or result.status == "complete"


@pytest.mark.parametrize(
    "name",
    [
        "azure_llm_2023/AzureLLMInferenceTrace_code.csv",
        "azure_llm_2023/AzureLLMInferenceTrace_conv.csv",
        "mooncake/conversation_trace.jsonl",
        "mooncake/synthetic_trace.jsonl",
        "arxiv_summ_vidur/arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv",
        "servegen/data/reason/deepseek-r1",
        "servegen/data/language/m-small",
    ],
)
def test_every_real_trace_is_simulated(shared, name):
    workload = {"path": str(shared / "traces" / name), "limit": 2000}
    if "m-small" in name:
        workload |= {"input_tokens": {"mean": 500}, "output_tokens": {"mean": 200}}
    engine = {"max_model_len": 131072, "num_gpu_blocks_override": 200_000, "max_num_batched_tokens": 16384}
    scenario = {**CLUSTER, "instances": [{**CLUSTER["instances"][0], "engine": engine}], "workload": workload}
    result = metronome.run(scenario)
    assert result["completed"] + result["failed"] == result["num_prompts"] == 2000
    assert set(result["metronome"]["failed"]) <= {"max_model_len"} and result["failed"] < 20


def test_a_request_above_the_memory_of_sglang_fails_by_the_same_word(tmp_path):
    (tmp_path / "w.jsonl").write_text('{"arrival_time_ns": 0, "input_toks": 90000, "output_toks": 2}\n')
    small = {"cluster.nodes.0.accelerators.type": "rtx-4090", "instances.0.engine": {"version": "sglang-0.5.5"}}
    scenario = {**CLUSTER, "workload": {"format": "llmservingsim", "path": "w.jsonl"}}
    assert metronome.run(scenario, folder=tmp_path, overrides=small)["metronome"]["failed"] == {"kv_cache": 1}

"""What an engine takes where the scenario leaves flags open, by version and device."""

from __future__ import annotations

import json

import pytest
from metronome.orchestrator.serving.spec import DeviceFacts
from metronome.orchestrator.serving.vllm.defaults import resolve
from metronome.orchestrator.serving.vllm.options import VllmOptions

GIB = 2**30
BY_VERSION = "by version and device"


@pytest.mark.parametrize(
    ("device", "gib", "given", "tokens", "sequences"),
    [
        ("h100-sxm", 80, {}, 8192, 1024),
        ("mi300x", 192, {}, 8192, 1024),
        ("a100-80g-sxm", 80, {}, 2048, 256),
        ("rtx-4090", 24, {}, 2048, 256),
        ("tpu-v6e", 32, {}, 1024, 256),
        ("tpu-v5p", 95, {}, 256, 256),
        ("h100-sxm", 80, {"max_num_seqs": 3}, 8192, 3),
        ("h100-sxm", 80, {"max_num_batched_tokens": 512}, 512, 512),
        ("rtx-4090", 24, {"enable_chunked_prefill": False}, 40_960, 256),
    ],
)
def test_defaults_are_those_of_vllm_serve(device, gib, given, tokens, sequences):
    flags = resolve(VllmOptions(**given), DeviceFacts(device, gib * GIB, 40_960))
    assert (flags.max_num_batched_tokens, flags.max_num_seqs) == (tokens, sequences)


def test_a_budget_by_default_is_no_larger_than_all_requests_together():
    flags = resolve(VllmOptions(max_num_seqs=2), DeviceFacts("h100-sxm", 80 * GIB, 1000))
    assert flags.max_num_batched_tokens == 2000


def test_validate_says_what_is_in_force_and_where_it_comes_from(cli):
    said = cli("validate", "quickstart", "--set", "instances.0.engine={block_size: 32, max_model_len: 8192}").output
    assert "given: block_size 32, max_model_len 8192" in said
    assert "by version and device: max_num_seqs 1024, max_num_batched_tokens 8192, async_scheduling true" in said


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        (
            {},
            {"max_model_len": (131_072, "by model"), "dtype": ("bf16", "by model"), "quantization": (None, "by model")},
        ),
        ({"dtype": "half"}, {"dtype": ("fp16", "given"), "kv_cache_dtype": ("fp16", "by model")}),
        ({"quantization": "fp8"}, {"quantization": ("fp8", "given"), "sampling": (None, "default")}),
        ({"engine": {"max_model_len": "auto"}}, {"max_model_len": (131_072, "by version and device")}),
        ({"engine": {"kv_cache_dtype": "fp8"}}, {"kv_cache_dtype": ("fp8", "given")}),
        ({"engine": {"async_scheduling": False}}, {"async_scheduling": (False, "given")}),
        ({}, {"async_scheduling": (True, BY_VERSION), "max_cudagraph_capture_size": (512, BY_VERSION)}),
        ({"engine": {"cudagraph_capture_sizes": [4, 2]}}, {"cudagraph_capture_sizes": ([2, 4], "given")}),
        ({"engine": {"cudagraph_capture_sizes": [4, 2]}}, {"max_cudagraph_capture_size": (4, BY_VERSION)}),
        ({"engine": {"version": "sglang-0.5.5"}}, {"max_num_seqs": (2048, BY_VERSION)}),
    ],
)
def test_what_a_scenario_leaves_open_has_its_value_in_force(cli, instance, expected):
    given = [f"--set=instances.0.{name}={json.dumps(value)}" for name, value in instance.items()]
    flags = json.loads(cli("validate", "tensor-parallel", "--json", *given).stdout)["engines"]["chat"]["flags"]
    assert {name: (flags[name]["value"], flags[name]["from"]) for name in expected} == expected


@pytest.mark.parametrize(
    ("config", "device", "dtype", "said"),
    [
        (
            {"torch_dtype": "bfloat16"},
            "h100-sxm",
            "auto",
            {"value": "bf16", "from": "by model", "by": "its torch_dtype"},
        ),
        ({"dtype": "float16"}, "h100-sxm", "auto", {"value": "fp16", "from": "by model", "by": "its dtype"}),
        ({}, "h100-sxm", "auto", {"value": "bf16", "from": "default", "by": "its config says none"}),
        (
            {"torch_dtype": "float32"},
            "h100-sxm",
            "auto",
            {"value": "bf16", "from": BY_VERSION, "by": "its torch_dtype is fp32"},
        ),
        (
            {"torch_dtype": "bfloat16"},
            "t4",
            "auto",
            {"value": "fp16", "from": BY_VERSION, "by": "its torch_dtype is bf16"},
        ),
        ({"torch_dtype": "bfloat16"}, "h100-sxm", "half", {"value": "fp16", "from": "given"}),
    ],
)
def test_who_says_a_dtype(tmp_path, cli, config, device, dtype, said):
    sizes = {"hidden_size": 1024, "intermediate_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 8}
    content = {"model_type": "llama", "vocab_size": 1000, "max_position_embeddings": 2048, **sizes, **config}
    (tmp_path / "m.json").write_text(json.dumps(content))
    changed = {"cluster.nodes.0.accelerators.type": device, "instances.0.model": tmp_path / "m.json"}
    changed |= {"instances.0.dtype": dtype, "instances.0.engine": "{}"}
    sets = [f"--set={name}={value}" for name, value in changed.items()]
    found = cli("validate", "tensor-parallel", "--json", *sets).stdout
    assert json.loads(found)["engines"]["chat"]["flags"]["dtype"] == said


def test_lists_are_short_in_the_text(cli):
    assert "cudagraph_capture_sizes [1, 2, 4 ... 512] (51)" in cli("validate", "tensor-parallel").output


@pytest.mark.parametrize("name", ["a100-80g-sxm", "A100", "NVIDIA A100-SXM4-80GB"])
def test_a_device_has_its_defaults_whatever_it_is_called(cli, name):
    """vLLM gives an A100 small ones."""
    given = [f"--set=cluster.nodes.0.accelerators.type={name}", "--set=instances.0.engine={}"]
    said = cli("validate", "tensor-parallel", *given).output
    assert "by version and device: max_num_seqs 256, max_num_batched_tokens 2048" in said


@pytest.mark.parametrize("case", ["56_a100-80g-sxm_default-engine-defaults", "56_rtx-4090_default-engine-defaults"])
def test_the_cases_of_the_field_get_their_defaults(case, shared, cli):
    said = cli("validate", shared.parent / "cases" / case / "scenario.yaml").output
    assert "by version and device: max_num_seqs 256, max_num_batched_tokens 2048" in said

"""Formats of checkpoints: which matrices, how many bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.lowering.models.load import load, read
from metronome.orchestrator.lowering.models.rules import matches

#: One layer of 256 wide vectors; q, k, v and o of 256 x 256, gate, up and down of 512 x 256.
CONFIG = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "max_position_embeddings": 512,
}
SQUARE, WIDE = 256 * 256, 512 * 256
NUMBERS = 4 * SQUARE + 3 * WIDE
REST = 2 * (2 * 128 * 256 + 256 * 5)  # embedding, head, norms: bf16
INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128, "symmetric": True}
FP4 = {"num_bits": 4, "type": "float", "group_size": 16}
FP8 = {"num_bits": 8, "type": "float", "strategy": "channel"}
ROWS = 4 * 256 + 2 * 512 + 256


def arch(quantization=None, beside=None, **changes):
    config = {**CONFIG, **({"quantization_config": quantization} if quantization else {}), **changes}
    return read("m", "m", config, beside)


def compressed(weights, inputs=None, **more):
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, **more}


@pytest.mark.parametrize(
    ("config", "layer", "compute"),
    [
        ({"quant_method": "fp8"}, NUMBERS + 7 * 8, "fp8"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, NUMBERS * (1 + 4 / 128**2), "fp8"),
        ({"quant_method": "fbgemm_fp8"}, NUMBERS + ROWS * 4, "fp8"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, NUMBERS * (0.5 + 2.5 / 128), ""),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, NUMBERS * (0.5 + 2.5 / 64), ""),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, NUMBERS + ROWS * 3, ""),
        (compressed(INT4), NUMBERS * (0.5 + 2 / 128), ""),
        (compressed(FP8, {"num_bits": 8, "type": "float"}), NUMBERS + ROWS * 4, "fp8"),
        (compressed({"num_bits": 8, "type": "int"}, {"num_bits": 8, "type": "int"}), NUMBERS + ROWS * 4, "int8"),
        (compressed(FP4, FP4), NUMBERS * (0.5 + 1 / 16) + 7 * 8, "fp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, NUMBERS * (0.5 + 1 / 16) + 7 * 8, "fp4"),
        ({"quant_algo": "FP8"}, NUMBERS + 7 * 8, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, NUMBERS * (0.5 + 4 / 64), ""),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, NUMBERS + ROWS * 4, "int8"),
    ],
)
def test_bytes_of_a_format(config, layer, compute):
    found = arch(config)
    assert found.weight_bytes(1) == int(2 * layer + REST)
    assert {linear.format.compute for linear in found.blocks[0].linears} == {compute}


def test_mxfp4_is_for_experts_alone():
    moe = {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
    found = arch({"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}, **moe)
    assert {linear.format.name for linear in found.routed.linears} == {"fp4"}
    assert {linear.format.name for linear in found.blocks[0].linears} == {""}


def test_hf_quant_config_beside_the_config():
    beside = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}
    found = arch(beside=beside)
    assert (found.quantization, found.kv_dtype) == ("modelopt", "fp8")


def test_groups_of_hf_quant_config_are_of_its_size():
    beside = {"quantization": {"quant_algo": "W4A16_AWQ", "group_size": 64}}
    assert arch(beside=beside).weight_bytes(1) == int(2 * NUMBERS * (0.5 + 2 / 64) + REST)


@pytest.mark.parametrize(
    "config",
    [
        {"quant_method": "awq", "bits": 4},
        {"quant_algo": "NVFP4"},
        {"quant_method": "modelopt_fp4", "quant_algo": "NVFP4"},
    ],
)
def test_two_files_that_contradict_each_other_are_refused(config):
    with pytest.raises(InputError, match="quant_algo = 'FP8': config.json says .*contradict"):
        arch(config, {"quantization": {"quant_algo": "FP8"}})


def test_sections_of_modelopt_within_the_config():
    found = arch(
        {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
    )
    assert (found.quantization, found.kv_dtype) == ("modelopt", "fp8")


def test_a_section_of_mlx_is_not_served_as_bf16():
    with pytest.raises(InputError, match="quantization = .*MLX"):
        read("m", "m", {**CONFIG, "quantization": {"group_size": 64, "bits": 4}})


@pytest.mark.parametrize(
    ("config", "warning"),
    [
        ({"quant_method": "mxfp4"}, "of method mxfp4 is for no matrix of this model: it is served plain"),
        ({"quant_method": "fp8", "modules_to_not_convert": ["layers"]}, "is for no matrix"),
        (compressed(FP8, transform_config={"config_groups": {"R1": {}}}), "transform_config: the rotations"),
        (compressed(FP8), ""),
    ],
)
def test_what_a_format_does_not_do_is_said(config, warning):
    assert [warning in text for text in arch(config).warnings] == ([True] if warning else [])


def test_mixed_precision_names_its_matrices():
    layers = {
        "model.layers.0.self_attn.o_proj": {"quant_algo": "FP8"},
        "model.layers.1.mlp": {"quant_algo": "NVFP4", "group_size": 16},
    }
    found = arch(beside={"quantization": {"quant_algo": "MIXED_PRECISION", "quantized_layers": layers}})
    names = [[linear.format.name for linear in block.linears] for block in found.blocks]
    assert names == [[*[""] * 3, "fp8", *[""] * 3], [*[""] * 4, *["fp4"] * 3]]


def test_what_a_checkpoint_leaves_out_keeps_its_type():
    config = {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0.self_attn", "lm_head"]}
    first, second = arch(config).blocks
    assert [linear.format.name for linear in first.linears] == [""] * 4 + ["fp8"] * 3
    assert {linear.format.name for linear in second.linears} == {"fp8"}


@pytest.mark.parametrize(
    ("pattern", "name", "meant"),
    [
        ("model.layers.0.self_attn*", "layers.0.self_attn.q_proj", True),
        ("model.layers.1.*", "layers.10.mlp.up_proj", False),
        ("model.layers.*.self_attn", "layers.7.self_attn.k_proj", True),
        ("language_model.model.layers.3.mlp.gate", "layers.3.mlp.gate_proj", False),
        ("gate", "layers.3.mlp.gate", True),
        ("gate", "layers.3.mlp.gate_proj", False),
        (r"re:.*mlp\.(gate|up|gate_up|down)_proj.*", "layers.3.mlp.up_proj", True),
        ("re:.*self_attn.*", "layers.3.mlp.up_proj", False),
        ("*.mlp.shared_expert.*", "layers.3.mlp.shared_expert.up_proj", True),
        (r"re:model\.language_model\.layers\.3\..*", "layers.3.mlp.up_proj", True),
        (r"re:^language_model\.layers\.3\..*", "layers.3.mlp.up_proj", True),
    ],
)
def test_patterns_of_exclusion_lists(pattern, name, meant):
    assert matches(pattern, name) is meant


def down_and_query(quantization):
    """Types of the second layer's down projection and of its queries'."""
    linears = {linear.path: linear.format.name for linear in arch(quantization).blocks[1].linears}
    return linears["mlp.down_proj"], linears["self_attn.q_proj"]


@pytest.mark.parametrize(
    ("config", "types"),
    [
        ({"dynamic": {"-:.*down_proj": {}}}, ("", "int4")),
        ({"dynamic": {r"+:.*\.down_proj": {"bits": 8}}}, ("int8", "int4")),
        ({"dynamic": {r"-:model\.layers\.0\..*": {}}}, ("int4", "int4")),
        (
            {"modules_in_block_to_quantize": [["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]]},
            ("", "int4"),
        ),
        ({"quant_method": "auto-round", "extra_config": {"model.layers.1.mlp.down_proj": {"bits": 16}}}, ("", "int4")),
        ({"quant_method": "auto-round", "extra_config": {".*self_attn.*": {"bits": 8}}}, ("int4", "int8")),
        ({"quant_method": "auto-round", "block_name_to_quantize": "model.layers.0"}, ("", "")),
        ({"quant_method": "gptq_marlin"}, ("int4", "int4")),
    ],
)
def test_integers_by_matrix(config, types):
    assert down_and_query({"quant_method": "gptq", "bits": 4, "group_size": 128, **config}) == types


def test_a_quantised_output_head():
    plain = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    saved = arch(plain).weight_bytes(1) - arch({**plain, "lm_head": True}).weight_bytes(1)
    assert saved == 128 * 256 * 2 - 128 * 256 * (0.5 + 2.5 / 128)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            compressed(FP8, sparsity_config={"format": "sparse-24-bitmask"}),
            "sparsity_config.format = 'sparse-24-bitmask'",
        ),
        ({**compressed(FP8), "config_groups": [1]}, "config_groups = .1.: must be a mapping"),
        (compressed(FP8, ignore=["re:("]), "ignore = '.': is no regular expression"),
        (compressed(FP8, ignore=[1]), "ignore = .1.: must be a list of names"),
        (compressed(FP8, ignore="lm_head"), "ignore = 'lm_head': must be a list of names"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {"targets": ["Conv1d"], "weights": FP8}}},
            "targets = 'Conv1d'",
        ),
        ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "weight_block_size = .0, 128.: must be two positive"),
        ({"quant_algo": "FP8", "kv_cache_quant_algo": "NVFP4"}, "kv_cache_quant_algo = 'NVFP4': must be FP8"),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {"+:.*": {"bits": 3}}}, r"dynamic.*bits = 3: 4 or 8"),
        ({"quant_method": "auto-round", "bits": 4, "packing_format": "auto_round:exllama"}, "packing_format"),
        ("fp8", "quantization_config = 'fp8': must be a mapping"),
        ({"quant_method": "fp8", "activation_scheme": "statik"}, "activation_scheme = 'statik': dynamic or static"),
        (compressed(FP8, kv_cache_scheme={"num_bits": 8, "type": "int"}), "kv_cache_scheme = .*of type float and num_"),
        (
            compressed(FP8, kv_cache_scheme={"num_bits": 4, "type": "float"}),
            "kv_cache_scheme = .*of type float and num_",
        ),
        (compressed(FP8, kv_cache_scheme="fp8"), "kv_cache_scheme = 'fp8': must be"),
        (compressed(INT4, format="marlin-24"), "format = 'marlin-24': sparse weights"),
        (compressed(FP8, sparsity_config="2:4"), "sparsity_config.format = '2:4'"),
        (compressed({**FP8, "strategy": "chanel"}), "strategy = 'chanel': one of tensor, channel"),
        (compressed({**FP8, "strategy": "block"}), "block_structure: is missing"),
        (compressed({**INT4, "num_bits": 8}, FP8), "'int8 group, inputs float8': is not a known scheme"),
        (compressed(FP8, INT4), "'float8 channel, inputs int4': is not a known scheme"),
        (compressed(FP4, FP8), "'float4 None, inputs float8': is not a known scheme"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": True}, "load_in_8bit = True"),
        ({"quant_algo": "MIXED_PRECISION", "quantized_layers": ["q_proj"]}, "quantized_layers = .*mapping of mappings"),
        ({"quant_method": "gptq", "bits": 4, "lm_head": "false"}, "lm_head = 'false': must be true or false"),
        ({"quant_method": "awq", "bits": 4, "group_size": True}, "group_size = True: must be a positive integer"),
        (compressed({**INT4, "group_size": None}), "weights.group_size: must be an integer"),
        (compressed({**INT4, "group_size": "128"}), "weights.group_size = '128': must be an integer"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {key: {"targets": ["Linear"], "weights": FP8} for key in "gh"},
            },
            "config_groups = 'Linear': is a target of two groups",
        ),
        ({"quant_method": "gptq", "bits": 4, "dynamic": {".*": "8"}}, "has a field that is not of its kind"),
    ],
)
def test_formats_that_would_be_taken_for_others_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        arch(config)


@pytest.mark.parametrize(
    ("config", "fields", "plain"),
    [
        ({"modules_to_not_convert": ["qkv_proj"]}, {"model_type": "phi3"}, 3 * SQUARE),
        ({"modules_to_not_convert": ["model.layers.1.mlp.gate_up_proj"]}, {"model_type": "phi3"}, WIDE),
        ({"modules_to_not_convert": ["gate_up_proj"]}, {"model_type": "glm"}, 2 * WIDE),
        ({"modules_to_not_convert": ["query_key_value"]}, {"model_type": "gpt_neox"}, 3 * SQUARE),
        ({"modules_to_not_convert": ["gpt_neox.layers.0"]}, {"model_type": "gpt_neox"}, (4 * SQUARE + 2 * WIDE) / 2),
        ({"modules_to_not_convert": ["model.decoder.layers.0.fc1"]}, {"model_type": "opt", "ffn_dim": 512}, WIDE / 2),
        ({"modules_to_not_convert": ["W_pack"]}, {"model_type": "baichuan"}, 3 * SQUARE),
        ({"modules_to_not_convert": ["feed_forward.w1", "w3"]}, {"model_type": "internlm2", "bias": False}, 2 * WIDE),
    ],
)
def test_matrices_are_called_as_in_the_checkpoint(config, fields, plain):
    """What an exclusion by the family's own names leaves in 16 bits; by the usual names it leaves nothing, and says so."""
    every = arch({"quant_method": "fp8"}, **fields)
    found = arch({"quant_method": "fp8", **config}, **fields)
    assert found.weight_bytes(1) - every.weight_bytes(1) == pytest.approx(2 * plain, abs=120) and not found.warnings
    usual = arch({"quant_method": "fp8", "modules_to_not_convert": ["self_attn.z_proj", "layers.1.mlp.x"]}, **fields)
    assert usual.weight_bytes(1) == every.weight_bytes(1)
    assert "excludes self_attn.z_proj and 1 others: no matrix of this model is called so" in usual.warnings[-1]


def test_expressions_are_for_what_vllm_computes_as_one():
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    every, without = arch(gptq).weight_bytes(1), arch({**gptq, "dynamic": {"-:.*qkv_proj.*": {}}}).weight_bytes(1)
    assert without - every == pytest.approx(2 * 3 * SQUARE * (2 - 0.5), rel=0.04)
    modelopt = {"quant_algo": "FP8", "exclude_modules": ["*qkv_proj*"]}
    left = arch(beside={"quantization": modelopt}).weight_bytes(1)
    assert left - arch(beside={"quantization": {"quant_algo": "FP8"}}).weight_bytes(1) == pytest.approx(
        2 * 3 * SQUARE, abs=60
    )


def test_what_lists_name_beside_the_layers_is_no_slip():
    beside = ["lm_head", "model.vision_tower.*", "re:.*visual.*", "model.layers.2.eh_proj", "*router*", "model.norm"]
    assert not arch({"quant_method": "fp8", "modules_to_not_convert": beside}).warnings


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"quant_method": "fp8", "modules_to_not_convert": ["q_proj"]}, "q_proj as it was and self_attn.k_proj as fp8"),
        ({"quant_method": "awq", "bits": 4, "group_size": 0}, "group_size = 0: must be a positive integer"),
        ({"quant_method": "awq", "bits": 4, "zero_point": "false"}, "zero_point = 'false': must be true or false"),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "static"},
            "activation_scheme = 'static': weights with a scale a block",
        ),
    ],
)
def test_what_vllm_does_not_load_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        arch(config)


def test_older_files_are_read_when_their_method_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "quant_config.json").write_text('{"zero_point": true, "q_group_size": 128, "w_bit": 4}')
    with pytest.raises(InputError, match="quantization_config: is missing, and quant_config.json lies beside: vLLM"):
        load(str(tmp_path), Path)
    found = load(str(tmp_path), Path, "awq")
    assert found.weight_bytes(1) == arch({"quant_method": "awq", "bits": 4}).weight_bytes(1)
    with pytest.raises(InputError, match="and quant_config.json lies beside"):
        load(str(tmp_path), Path, "gptq")


def test_a_key_that_is_nearly_one_that_is_read_is_said():
    config = {"quant_method": "awq", "bits": 4, "gruop_size": 64, "version": "gemm", "_load_in_8bit": False}
    assert list(arch(config).warnings) == ["m: quantization_config.gruop_size is not read; did you mean group_size?"]

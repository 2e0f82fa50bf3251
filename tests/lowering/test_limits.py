"""What vLLM, and SGLang, does not serve of a quantised checkpoint: by GPU, platform, type and ranks."""

from __future__ import annotations

import pytest
from metronome.hwmodels import catalog
from metronome.orchestrator.lowering.models.limits import Asked, block_step, least_capability, unserved
from metronome.orchestrator.lowering.models.sglang_limits import unserved_by_sglang
from metronome.orchestrator.lowering.slices import uncut

from .test_quantisation import FP4, FP8, INT4, arch, compressed
from .test_quark import QUARK_FP4, QUARK_FP8, quark


@pytest.mark.parametrize(
    ("config", "least"),
    [
        (None, 0),
        ({"quant_method": "fp8"}, 7.5),
        ({"quant_method": "awq", "bits": 4}, 7.5),
        ({"quant_method": "gptq", "bits": 4}, 6.0),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 7.0),
        ({"quant_algo": "FP8"}, 8.9),
        ({"quant_algo": "NVFP4"}, 7.5),
        ({"quant_algo": "MXFP8"}, 10.0),
        (compressed(INT4), 7.5),
        (compressed(INT4, {"num_bits": 8, "type": "float"}), 9.0),
        (compressed(FP8, {"num_bits": 8, "type": "float"}), 7.5),
        (compressed({**FP4, "group_size": 32}), 8.0),
    ],
)
def test_the_least_gpu_that_vllm_serves_a_format_on(config, least):
    assert least_capability(arch(config)) == least


@pytest.mark.parametrize(
    ("config", "dtype", "asked", "field"),
    [
        ({"quant_method": "awq", "bits": 4}, "bfloat16", {}, None),
        ({"quant_method": "awq", "bits": 4}, "bfloat16", {"quantization": "awq"}, "dtype"),
        ({"quant_method": "awq", "bits": 4}, "float16", {"quantization": "awq"}, None),
        ({"quant_method": "fp8"}, "float32", {}, "dtype"),
        ({"quant_method": "mxfp4"}, "float16", {}, "dtype"),
        (compressed(FP8), "float32", {}, None),
        ({"quant_method": "fp8"}, "bfloat16", {"kv_cache_dtype": "fp8_e5m2"}, "engine.kv_cache_dtype"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bfloat16", {"tensor_parallel_size": 2}, "tensor"),
        ({"quant_method": "fp8"}, "bfloat16", {"tensor_parallel_size": 2}, None),
        ({"quant_algo": "MXFP8"}, "bfloat16", {"capability": 9.0}, "quantization"),
        (None, "float32", {"kv_cache_dtype": "fp8_e5m2", "tensor_parallel_size": 2, "capability": 7.0}, None),
    ],
)
def test_what_vllm_does_not_serve_of_a_checkpoint(config, dtype, asked, field):
    given = {"quantization": None, "kv_cache_dtype": "auto", "tensor_parallel_size": 1, "capability": None, **asked}
    refused = unserved(arch(config, torch_dtype=dtype), Asked(**given))
    assert (refused is None) == (field is None) and (refused is None or refused[0].startswith(field))


MI250X, MI300X, MI355X = ({"platform": "rocm", "capability": one} for one in (9.0, 9.4, 9.5))

TPU = {"platform": "tpu"}

FP8_INPUTS = {"num_bits": 8, "type": "float"}


@pytest.mark.parametrize(
    ("config", "asked", "refused"),
    [
        ({"quant_algo": "FP8"}, MI300X, "on ROCm: there one of awq, bitsandbytes"),
        ({"quant_algo": "NVFP4"}, MI355X, "on ROCm: there one of"),
        ({"quant_method": "auto-round", "bits": 4}, MI300X, "on ROCm: there one of"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, MI300X, None),
        ({"quant_method": "awq", "bits": 4}, MI300X, None),
        ({"quant_method": "mxfp4"}, MI300X, None),
        ({"quant_method": "mxfp4"}, MI250X, None),
        ({"quant_method": "fp8"}, MI300X, None),
        ({"quant_method": "fp8"}, MI250X, "fp8 from gfx942 on"),
        (compressed(FP8, FP8_INPUTS), MI300X, None),
        (compressed(FP8), MI300X, "fp8 without inputs in fp8"),
        (compressed(FP8, FP8_INPUTS), MI250X, "fp8 from gfx942 on"),
        (compressed(INT4), MI250X, None),
        (quark(QUARK_FP8), MI300X, None),
        (quark(QUARK_FP8), MI250X, "fp8 from gfx942 on"),
        (quark(QUARK_FP8), {"platform": "cuda", "capability": 9.0}, None),
        (quark(QUARK_FP8), {"platform": "cuda", "capability": 8.0}, "from compute capability 8.9 on"),
        (quark(QUARK_FP4), MI355X, None),
        (quark(QUARK_FP4), {}, None),
        (quark(QUARK_FP4), MI300X, "unpacks fp4 of Quark in every step but on gfx950"),
        (quark(QUARK_FP4), {"platform": "cuda", "capability": 10.0}, "but on gfx950"),
        (quark(QUARK_FP8), TPU, "on TPUs: there one of"),
        (compressed({**FP4, "group_size": 32}), MI355X, "kernels for fp4"),
        (compressed(INT4, FP8_INPUTS), MI300X, "int4 by fp8 on NVIDIA's compute capability 9.0 alone"),
        (compressed(INT4, FP8_INPUTS), MI250X, "int4 by fp8 on NVIDIA's compute capability 9.0 alone"),
        (compressed(INT4, FP8_INPUTS), {"platform": "cuda", "capability": 10.0}, "capability 9.0 alone"),
        (compressed(INT4, FP8_INPUTS), {"platform": "cuda", "capability": 9.0}, None),
        (compressed(INT4, FP8_INPUTS), {}, None),
        ({"quant_method": "gptq", "bits": 4}, TPU, "on TPUs: there one of awq, compressed-tensors, fp8, mxfp4"),
        ({"quant_method": "fp8"}, TPU, None),
        (None, TPU, None),
        (None, MI250X, None),
    ],
)
def test_what_vllm_does_not_serve_on_a_platform(config, asked, refused):
    given = {"quantization": None, "kv_cache_dtype": "auto", "tensor_parallel_size": 1, "capability": None, **asked}
    found = unserved(arch(config), Asked(**given))
    assert found is None if refused is None else found[0] == "quantization" and refused in found[2]


@pytest.mark.parametrize(
    ("config", "platform", "served"),
    [
        ({"quant_algo": "FP8"}, "rocm", False),
        ({"quant_algo": "FP8"}, "cuda", True),
        ({"quant_algo": "NVFP4"}, "rocm", True),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "rocm", False),
        ({"quant_method": "fp8"}, "rocm", True),
        (quark(QUARK_FP8), "rocm", True),
        (None, "rocm", True),
    ],
)
def test_what_sglang_does_not_serve_on_a_platform(config, platform, served):
    refused = unserved_by_sglang(arch(config), platform)
    assert served == (refused is None) and (served or refused[0] == "quantization")


def test_blocks_of_any_size_where_rocm_attends_to_latent_vectors():
    latent = {"kv_lora_rank": 64, "q_lora_rank": 64, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 128}
    deepseek = arch(model_type="deepseek_v3", **latent, **experts)
    assert [block_step(deepseek, platform) for platform in ("rocm", "cuda", "")] == [1, 16, 16]
    assert block_step(arch(), "rocm") == 16


def test_gptq_is_in_fp16_on_rocm():
    asked = Asked(None, "auto", 1, 9.4, "rocm")
    found = unserved(arch({"quant_method": "gptq", "bits": 4}, torch_dtype="bfloat16"), asked)
    assert found is not None and found[0] == "dtype" and "not for ROCm" in found[2]
    assert unserved(arch({"quant_method": "gptq", "bits": 4}, torch_dtype="float16"), asked) is None


@pytest.mark.parametrize(
    ("name", "platform"), [("mi300x", "rocm"), ("tpu-v6e", "tpu"), ("h100-sxm", "cuda"), ("gaudi3", "")]
)
def test_what_vllm_runs_on_by_device(name, platform):
    assert catalog.device(name).platform == platform


@pytest.mark.parametrize(
    ("config", "tp", "refused"),
    [
        ({"quant_method": "awq", "bits": 4}, 2, None),
        ({"quant_method": "awq", "bits": 4}, 4, "leaves 64 inputs of self_attn.o_proj, not whole groups of 128"),
        ({"quant_method": "awq", "bits": 4, "group_size": -1}, 4, None),
        ({"quant_method": "awq", "bits": 4, "group_size": 100}, 1, "leaves 256 inputs of self_attn.q_proj"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4, None),
        ({"quant_algo": "NVFP4"}, 4, None),
    ],
)
def test_ranks_have_whole_groups(config, tp, refused):
    found = uncut(arch(config), tp, False, False)
    assert found is None if refused is None else found.startswith(refused)

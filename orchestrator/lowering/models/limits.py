"""What vLLM 0.19 does not serve of a quantised checkpoint, and on which devices (`vllm/config/vllm.py`,
`vllm/model_executor/layers/quantization`: ``get_min_capability``, ``get_supported_act_dtypes``; `vllm/platforms`:
``supported_quantization``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..architecture import Architecture
from .formats import Format
from .parts import Latent

#: NVIDIA's compute capability by method; what compressed-tensors and ModelOpt need depends on the format
METHODS = {
    "awq": 7.5,
    "bitsandbytes": 7.0,
    "compressed-tensors": 7.0,
    "fbgemm_fp8": 8.0,
    "fp8": 7.5,
    "gptq": 6.0,
    "inc": 6.0,
    "modelopt": 7.5,
    "mxfp4": 8.0,
    "mxfp8": 10.0,
    "quark": 7.0,
}

#: types of activations by method; any where it is not here
ACTIVATIONS = {
    **dict.fromkeys(("awq", "gptq", "fbgemm_fp8", "fp8", "inc", "modelopt", "quark"), ("bf16", "fp16")),
    **dict.fromkeys(("mxfp4", "mxfp8"), ("bf16",)),
}
#: what platforms other than CUDA serve, of the methods that are read here: `vllm/platforms/rocm.py`, and
#: `tpu_inference/platforms/tpu_platform.py` of vllm-project/tpu-inference, which vLLM takes for TPUs
SERVED = {
    "rocm": ("awq", "bitsandbytes", "compressed-tensors", "fbgemm_fp8", "fp8", "gptq", "mxfp4", "quark"),
    "tpu": ("awq", "compressed-tensors", "fp8", "mxfp4"),
}
PLATFORMS = {"rocm": "ROCm", "tpu": "TPUs"}
#: from here on AMD's devices have fp8 (RocmPlatform.supports_fp8: gfx94, gfx95), by HIP's compute capability
ROCM_FP8 = 9.4
#: CompressedTensorsW4A8Fp8 is for this one alone (``_is_fp8_w4a8_sm90``)
W4A8_FP8 = 9.0
#: what has fp4 of Quark (Platform.supports_mx: gfx95)
ROCM_FP4 = 9.5

#: methods that hold formats of which a platform may serve some
BY_FORMAT = ("compressed-tensors", "fp8", "fbgemm_fp8", "quark")
#: those whose kernels of their own are asked for by name; else vLLM takes Marlin's
BY_NAME = ("awq", "gptq")


class Asked(NamedTuple):
    """How it is to be served: ``quantization`` and ``kv_cache_dtype`` as the scenario says, ranks, the GPU's compute
    capability, None where that is not known, and what vLLM runs on there (``platform`` of a `catalog.Device`)."""

    quantization: str | None
    kv_cache_dtype: str
    tensor_parallel_size: int
    capability: float | None
    platform: str = ""


def unserved(arch: Architecture, asked: Asked) -> tuple[str, object, str] | None:
    """(field of the instance, its value, what is allowed) of the first that vLLM refuses; None if it takes all."""
    method, least = arch.quantization, least_capability(arch)
    elsewhere = _not_on_platform(arch, asked)
    if elsewhere is not None:
        return "quantization", method, elsewhere
    if asked.capability is not None and asked.capability < least:
        allowed = f"vLLM serves it from compute capability {least} on; this device has {asked.capability}"
        return "quantization", method, allowed
    marlin = asked.platform != "rocm" or method != "gptq"  # GPTQMarlinConfig is CUDA's, AWQMarlinConfig also ROCm's
    types = ("fp16",) if asked.quantization in BY_NAME or not marlin else ACTIVATIONS.get(method)
    if types is not None and arch.dtype not in types:
        by_name = (
            f"; without quantization {method} vLLM takes Marlin's kernels" if asked.quantization in BY_NAME else ""
        )
        why = by_name if marlin else "; Marlin's kernels, which take bf16, are not for ROCm"
        return "dtype", arch.dtype, f"of a checkpoint of method {method} one of {', '.join(types)}{why}"
    if asked.kv_cache_dtype == "fp8_e5m2" and method in ("fp8", "modelopt"):
        return "engine.kv_cache_dtype", asked.kv_cache_dtype, "vLLM has fp8_e4m3 only, of a checkpoint in fp8"
    if method == "bitsandbytes" and asked.quantization is None and asked.tensor_parallel_size > 1:
        allowed = "vLLM does not cut checkpoints of bitsandbytes; use pipeline_parallel_size"
        return "tensor_parallel_size", asked.tensor_parallel_size, allowed
    return None


def block_step(arch: Architecture, platform: str) -> int:
    """Of how many tokens a KV block is a multiple: of one where ROCm's AITER kernels attend to latent vectors
    (`rocm_aiter_mla.py` of `vllm/v1/attention/backends/mla`, ``get_supported_kernel_block_sizes``)."""
    return 1 if platform == "rocm" and isinstance(arch.attention, Latent) else 16


def _not_on_platform(arch: Architecture, asked: Asked) -> str | None:
    """Why vLLM does not serve the checkpoint's method, or a format of it, on that platform; None if it does."""
    served = SERVED.get(asked.platform)
    if served is not None and arch.quantization and arch.quantization not in served:
        return f"vLLM does not serve it on {PLATFORMS[asked.platform]}: there one of {', '.join(served)}"
    rocm, capability = asked.platform == "rocm", asked.capability
    formats = {(one.name, one.compute) for one in formats_of(arch)} if arch.quantization in BY_FORMAT else set()
    if ("int4", "fp8") in formats and (rocm or capability not in (None, W4A8_FP8)):
        return f"vLLM multiplies int4 by fp8 on NVIDIA's compute capability {W4A8_FP8} alone"
    marlin = ("fp8", "") in formats or any(name == "fp4" for name, _ in formats)
    if rocm and arch.quantization == "compressed-tensors" and marlin:
        return "vLLM's kernels for fp4, and for fp8 without inputs in fp8, are not built for ROCm (Marlin, CUTLASS)"
    no_fp4 = asked.platform and not (rocm and capability is not None and capability >= ROCM_FP4)
    if arch.quantization == "quark" and no_fp4 and any(name == "fp4" for name, _ in formats):
        return "vLLM unpacks fp4 of Quark in every step but on gfx950 (mi355x), which is not modelled"
    if rocm and capability is not None and capability < ROCM_FP8 and ("fp8", "fp8") in formats:
        return f"AMD's devices have fp8 from gfx942 on, HIP's compute capability {ROCM_FP8}"
    return None


def formats_of(arch: Architecture) -> Iterator[Format]:
    """Of all matrices that are quantised."""
    for layer in dict.fromkeys(arch.blocks):
        for one in (*layer.linears, *(layer.experts.linears if layer.experts else ())):
            if one.format.name:
                yield one.format


def least_capability(arch: Architecture) -> float:
    """NVIDIA's compute capability that a GPU must have at least; 0 for a plain checkpoint."""
    least = METHODS.get(arch.quantization, 0.0)
    of = {"compressed-tensors": _compressed_tensors, "modelopt": _modelopt, "quark": _quark}.get(arch.quantization)
    if of is not None:
        least = max([least, *map(of, formats_of(arch))])
    return least


def _compressed_tensors(one: Format) -> float:
    """Of a scheme. Where fp8 inputs are not possible it keeps them in 16 bits (CompressedTensorsW8A16Fp8)."""
    if one.name == "int4" and one.compute == "fp8":
        return 9.0  # CompressedTensorsW4A8Fp8
    return 8.0 if one.name == "fp4" and one.columns == 32 else 7.5  # CompressedTensorsW4A16Mxfp4


def _modelopt(one: Format) -> float:
    """ModelOptFp8Config, ModelOptMxFp8Config, ModelOptNvFp4Config."""
    if one.name != "fp8":
        return 7.5
    return 10.0 if one.columns == 32 else 8.9


def _quark(one: Format) -> float:
    """QuarkW8A8Fp8, QuarkW8A8Int8, QuarkOCP_MX."""
    return {"fp8": 8.9, "int8": 7.5}.get(one.name, 7.0)

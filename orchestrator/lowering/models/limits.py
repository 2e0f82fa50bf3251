"""What vLLM 0.19 does not serve of a quantised checkpoint, and on which GPUs (`vllm/config/vllm.py`,
`vllm/model_executor/layers/quantization`: ``get_min_capability``, ``get_supported_act_dtypes``)."""

from __future__ import annotations

from typing import NamedTuple

from ..architecture import Architecture
from .formats import Format

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
}

#: types of activations by method; any where it is not here
ACTIVATIONS = {
    **dict.fromkeys(("awq", "gptq", "fbgemm_fp8", "fp8", "inc", "modelopt"), ("bf16", "fp16")),
    **dict.fromkeys(("mxfp4", "mxfp8"), ("bf16",)),
}
#: those whose kernels of their own are asked for by name; else vLLM takes Marlin's
BY_NAME = ("awq", "gptq")


class Asked(NamedTuple):
    """How it is to be served: ``quantization`` and ``kv_cache_dtype`` as the scenario says, ranks, and NVIDIA's compute
    capability of the GPU, None where that is not known."""

    quantization: str | None
    kv_cache_dtype: str
    tensor_parallel_size: int
    capability: float | None


def unserved(arch: Architecture, asked: Asked) -> tuple[str, object, str] | None:
    """(field of the instance, its value, what is allowed) of the first that vLLM refuses; None if it takes all."""
    method, least = arch.quantization, least_capability(arch)
    if asked.capability is not None and asked.capability < least:
        allowed = f"vLLM serves it from compute capability {least} on; this device has {asked.capability}"
        return "quantization", method, allowed
    types = ("fp16",) if asked.quantization in BY_NAME else ACTIVATIONS.get(method)
    if types is not None and arch.dtype not in types:
        by_name = (
            f"; without quantization {method} vLLM takes Marlin's kernels" if asked.quantization in BY_NAME else ""
        )
        return "dtype", arch.dtype, f"of a checkpoint of method {method} one of {', '.join(types)}{by_name}"
    if asked.kv_cache_dtype == "fp8_e5m2" and method in ("fp8", "modelopt"):
        return "engine.kv_cache_dtype", asked.kv_cache_dtype, "vLLM has fp8_e4m3 only, of a checkpoint in fp8"
    if method == "bitsandbytes" and asked.quantization is None and asked.tensor_parallel_size > 1:
        allowed = "vLLM does not cut checkpoints of bitsandbytes; use pipeline_parallel_size"
        return "tensor_parallel_size", asked.tensor_parallel_size, allowed
    return None


def least_capability(arch: Architecture) -> float:
    """NVIDIA's compute capability that a GPU must have at least; 0 for a plain checkpoint."""
    least = METHODS.get(arch.quantization, 0.0)
    if arch.quantization in ("compressed-tensors", "modelopt"):
        of = _compressed_tensors if arch.quantization == "compressed-tensors" else _modelopt
        linears = [one for layer in dict.fromkeys(arch.blocks) for one in layer.linears]
        linears += [one for layer in dict.fromkeys(arch.blocks) if layer.experts for one in layer.experts.linears]
        least = max([least, *(of(one.format) for one in linears if one.format.name)])
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

"""On which GPUs vLLM serves a quantised checkpoint: ``get_min_capability`` of its methods and schemes, 0.19
(`vllm/model_executor/layers/quantization`, `vllm/config/vllm.py`)."""

from __future__ import annotations

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

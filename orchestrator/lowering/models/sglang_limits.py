"""What SGLang 0.5.5 does not serve of a quantised checkpoint on AMD's devices.

From `python/sglang/srt/configs/model_config.py`, ``_verify_quantization``.
"""

from __future__ import annotations

from ..architecture import Architecture
from .limits import formats_of

#: of the methods that are read here
SERVED_ON_ROCM = ("awq", "compressed-tensors", "fbgemm_fp8", "fp8", "gptq", "inc", "mxfp4", "quark")


def unserved_by_sglang(arch: Architecture, platform: str) -> tuple[str, object, str] | None:
    """(field of the instance, its value, what is allowed) of what SGLang refuses; None if it takes all."""
    method = arch.quantization
    if platform != "rocm" or not method or method in SERVED_ON_ROCM:
        return None
    if method == "modelopt" and all(one.name == "fp4" for one in formats_of(arch)):
        return None  # `petit_nvfp4` takes these
    return "quantization", method, f"SGLang does not serve it on ROCm: there one of {', '.join(SERVED_ON_ROCM)}"

"""NVIDIA's ModelOpt: one algorithm for all matrices, or one by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import formats
from .fields import Fields
from .formats import Format
from .gptq import Rule
from .rules import ROOTS_OF, Quantisation, block_of, everything, left_out

#: ModelOpt's names -> formats
ALGORITHMS: dict[str, Format] = {
    "FP8": formats.fp8(),
    "FP8_PER_CHANNEL_PER_TOKEN": formats.fp8(per_channel=True),
    "FP8_PB_WO": formats.fp8((128, 128)),
    "FP8_PB_REAL": formats.fp8((128, 128)),
    "NVFP4": formats.nvfp4(),
    "W4A16_NVFP4": formats.nvfp4(weight_only=True),
    "NVFP4_AWQ": formats.nvfp4(),
    "MXFP8": formats.mxfp8(),
    "MXFP4": formats.mxfp4(),
    "W4A16_AWQ": formats.integer4(128, False),
    "INT8": formats.int8(),
}


def modelopt(at: Fields, config: dict[str, Any], beside: dict[str, Any]) -> Quantisation:
    both = {**config, **{key: value for key, value in beside.items() if value is not None}}
    algorithm = both.get("quant_algo")
    kv = both.get("kv_cache_quant_algo") or both.get("kv_cache_scheme")
    kv_dtype = "fp8" if kv == "FP8" or (isinstance(kv, Mapping) and kv.get("num_bits") == 8) else ""
    if kv and not kv_dtype and kv != "NONE":
        raise at.refuse("quantization.kv_cache_quant_algo", kv, "must be FP8 or none: vLLM 0.19 has no other")
    excluded = left_out(at, both, "exclude_modules", "ignore", "modules_to_not_convert")
    if algorithm == "MIXED_PRECISION":
        layers = both.get("quantized_layers") or {}
        if not isinstance(layers, Mapping) or not all(isinstance(of, Mapping) for of in layers.values()):
            raise at.refuse("quantization_config.quantized_layers", layers, "must be a mapping of mappings")
        if layers:
            named = {ROOTS_OF.sub("", name): _algorithm(at, of) for name, of in layers.items()}
            rules: list[Rule] = [lambda name: _nearest(named, name)]
            if both.get("quant_method") == "fp8":  # the others keep the checkpoint's own fp8
                return Quantisation("modelopt", (*rules, everything(_block_fp8(at, both))), _unless(excluded), kv_dtype)
            return Quantisation("modelopt", tuple(rules), excluded, kv_dtype, wholes=True)
        raise at.refuse("quantization_config.quantized_layers", None, "is missing")
    return Quantisation("modelopt", (everything(_algorithm(at, both)),), excluded, kv_dtype, wholes=True)


def _block_fp8(at: Fields, config: Mapping[str, Any]) -> Format:
    return formats.fp8(block_of(at, "weight_block_size", config.get("weight_block_size")) or (128, 128))


def _unless(excluded: tuple[str, ...]) -> tuple[str, ...]:
    """Exclusions that are about the finer format only (attention, shared experts stay in fp8) do not count."""
    return tuple(pattern for pattern in excluded if not pattern.startswith("*."))


def _algorithm(at: Fields, of: Mapping[str, Any]) -> Format:
    """The format of a ``quant_algo``, with the ``group_size`` beside it where its numbers share scales in groups."""
    found = ALGORITHMS.get(str(of.get("quant_algo")))
    if found is None:
        allowed = f"one of {', '.join(ALGORITHMS)}, MIXED_PRECISION"
        raise at.refuse("quantization.quant_algo", of.get("quant_algo"), allowed)
    group = of.get("group_size")
    if not group or not found.columns or found.rows != 1:
        return found
    if not isinstance(group, int) or isinstance(group, bool):
        raise at.refuse("quantization.group_size", group, "must be an integer")
    return replace(found, columns=group)


def _nearest(named: Mapping[str, Format], name: str) -> Format | None:
    """The format of a matrix, or of the module it is in."""
    while name:
        if name in named:
            return named[name]
        name = name.rpartition(".")[0]
    return None

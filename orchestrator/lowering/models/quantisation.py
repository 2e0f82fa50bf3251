"""``quantization_config`` and ``hf_quant_config.json``: which matrix is stored how.

Quantised are the linear layers and experts; embedding, output head, routers and norms only where a format
says so, which none here does. What a file excludes by name, pattern (``*``) or regular expression (``re:``)
stays in the model's own type.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from . import formats, gptq
from .compressed import compressed_tensors
from .fields import Fields
from .formats import PLAIN
from .gptq import Rule
from .modelopt import modelopt
from .quark import quark
from .rules import Quantisation, block_of, everything, left_out


def read(at: Fields, beside: Mapping[str, Any] | None = None) -> Quantisation | None:
    """What the config says, or ``hf_quant_config.json`` beside it; None for a plain checkpoint.

    Raises InputError for a method or scheme that is not known, and where the two files say different things.
    """
    config = at.get("quantization_config") or at.get("compression_config")
    if beside is not None and not isinstance(beside, Mapping):
        raise at.refuse("hf_quant_config.json", beside, "must be a mapping")
    beside = (beside or {}).get("quantization", beside)
    if not config and not beside:
        if isinstance(at.get("quantization"), Mapping):  # MLX; vLLM's loader finds no such weights
            raise at.refuse("quantization", at.get("quantization"), "is MLX's; vLLM reads quantization_config alone")
        return None
    if not isinstance(config or {}, Mapping) or not isinstance(beside or {}, Mapping):
        raise at.refuse("quantization_config", config, "must be a mapping")
    config = config or {}
    if isinstance(config.get("quantization"), Mapping):  # ModelOpt's sections, as in a file of its own
        config = {**config, **config["quantization"]}
    method = str(config.get("quant_method") or "").removesuffix("_marlin")
    if beside:
        _agree(at, config, method, beside)
    if method in ("compressed-tensors", "compressed_tensors"):
        return compressed_tensors(at, config)
    if beside or config.get("quant_algo") or method.startswith("modelopt"):
        return modelopt(at, dict(config), dict(beside or {}))
    reader = METHODS.get(method)
    if reader is None:
        raise at.refuse("quantization_config.quant_method", method, f"one of {', '.join([*METHODS, *OTHERS])}")
    return reader(at, config)


OTHERS = ("compressed-tensors", "modelopt")

#: what is read of a quantization_config
KEYS = (
    *("activation_scheme", "bits", "block_name_to_quantize", "bnb_4bit_use_double_quant", "config_groups", "data_type"),
    *("dynamic", "exclude", "export", "global_quant_config", "layer_quant_config", "layer_type_quant_config"),
    *("exclude_modules", "extra_config", "format", "group_size", "ignore", "ignored_layers"),
    *("kv_cache_quant_algo", "kv_cache_scheme", "llm_int8_skip_modules", "lm_head", "load_in_4bit", "load_in_8bit"),
    *("modules_in_block_to_quantize", "modules_to_not_convert", "packing_format", "q_group_size", "quant_algo"),
    *("quant_method", "quantized_layers", "sparsity_config", "transform_config", "w_bit", "weight_block_size"),
    "zero_point",
)


def mistyped(config: Any) -> list[str]:
    """What to say of keys that are nearly one that is read: files have many others, which vLLM passes over."""
    unread = [key for key in config if key not in KEYS and not key.startswith("_")] if isinstance(config, dict) else []
    near = {key: get_close_matches(key, KEYS, 1, 0.85) for key in unread}
    return [f"quantization_config.{key} is not read; did you mean {found[0]}?" for key, found in near.items() if found]


def _agree(at: Fields, config: Mapping[str, Any], method: str, beside: Mapping[str, Any]) -> None:
    """vLLM takes config.json where both files have a section, TensorRT-LLM the other: they must mean the same.

    Raises InputError where they do not. ModelOpt's ``MIXED_PRECISION`` of an fp8 checkpoint is of both files.
    """
    theirs, ours = beside.get("quant_algo"), config.get("quant_algo")
    if method and not method.startswith("modelopt"):
        same = method == "fp8" and (theirs is None or str(theirs).startswith("FP8") or theirs == "MIXED_PRECISION")
    else:
        same = None in (theirs, ours) or theirs == ours
    if not same:
        allowed = f"config.json says {ours or method}: the two files contradict each other, remove one"
        raise at.refuse("hf_quant_config.json quant_algo", theirs, allowed)


def online(method: str) -> Quantisation:
    """What vLLM makes of a plain checkpoint while it loads it; ``method`` is one of `ONLINE`."""
    return Quantisation(method, (everything(ONLINE[method]),))


ONLINE = {
    "fp8": formats.fp8(),
    "ptpc_fp8": formats.fp8(per_channel=True),
    "bitsandbytes": formats.nf4(double=False),
    "mxfp8": formats.mxfp8(),
}


def _fp8(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    block = config.get("weight_block_size")
    if (scheme := config.get("activation_scheme", "dynamic")) not in ("dynamic", "static"):
        raise at.refuse("quantization_config.activation_scheme", scheme, "dynamic or static")
    if block is not None and scheme == "static":
        allowed = "weights with a scale a block have dynamic inputs (vLLM's Fp8Config)"
        raise at.refuse("quantization_config.activation_scheme", scheme, allowed)
    rules: list[Rule] = [everything(formats.fp8(block_of(at, "weight_block_size", block)))]
    if at.get("expert_dtype") == "fp4":
        rules.insert(0, lambda name: formats.mxfp4() if ".experts." in name else None)
    return Quantisation("fp8", tuple(rules), left_out(at, config, "modules_to_not_convert", "ignored_layers"))


def _group(at: Fields, config: Mapping[str, Any], *names: str) -> int:
    value = next((config[name] for name in names if name in config), 128)
    if type(value) is not int or (value < 1 and value != -1):
        raise at.refuse(f"quantization_config.{names[0]}", value, "must be a positive integer, or -1 for all inputs")
    return max(value, 0)  # -1: one scale for all inputs


def _bits(at: Fields, config: Mapping[str, Any], *names: str) -> int:
    value = next((config[name] for name in names if name in config), None)
    if value not in (4, 8):
        raise at.refuse(f"quantization_config.{names[0]}", value, "4 or 8")
    return int(value)


def _awq(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    bits = _bits(at, config, "bits", "w_bit")
    if not isinstance(zeros := config.get("zero_point", True), bool):
        raise at.refuse("quantization_config.zero_point", zeros, "must be true or false")
    one = formats.integer4(_group(at, config, "group_size", "q_group_size"), zeros, bits)
    return Quantisation("awq", (everything(one),), left_out(at, config, "modules_to_not_convert"))


def _gptq(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    if not isinstance(of_head := config.get("lm_head", False), bool):
        raise at.refuse("quantization_config.lm_head", of_head, "must be true or false")
    head = gptq.integers(at, config) if of_head else PLAIN
    return Quantisation("gptq", gptq.gptq(at, config), left_out(at, config, "modules_to_not_convert"), head=head)


def _auto_round(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    return Quantisation("inc", gptq.auto_round(at, config))


def _fbgemm(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    one = formats.fp8(per_channel=True)
    told = "quantization fbgemm_fp8: vLLM 0.19 serves it with --allow-deprecated-quantization only"
    return Quantisation("fbgemm_fp8", (everything(one),), left_out(at, config, "modules_to_not_convert"), warning=told)


def _mxfp4(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    """gpt-oss: the experts alone."""
    return Quantisation(
        "mxfp4",
        (lambda name: formats.mxfp4() if ".experts." in name else None,),
        left_out(at, config, "modules_to_not_convert"),
    )


def _bitsandbytes(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    if config.get("load_in_8bit") and config.get("load_in_4bit"):
        raise at.refuse("quantization_config.load_in_8bit", True, "load_in_4bit is true, too: one of them")
    if config.get("load_in_8bit"):
        one = formats.int8()
    elif config.get("load_in_4bit"):
        one = formats.nf4(bool(config.get("bnb_4bit_use_double_quant")))
    else:
        raise at.refuse("quantization_config.load_in_4bit", None, "load_in_4bit or load_in_8bit must be true")
    return Quantisation("bitsandbytes", (everything(one),), left_out(at, config, "llm_int8_skip_modules"))


METHODS = {
    "fp8": _fp8,
    "awq": _awq,
    "gptq": _gptq,
    "auto-round": _auto_round,
    "intel/auto-round": _auto_round,
    "fbgemm_fp8": _fbgemm,
    "mxfp4": _mxfp4,
    "gpt_oss_mxfp4": _mxfp4,
    "bitsandbytes": _bitsandbytes,
    "quark": quark,
}

"""``quantization_config`` and ``hf_quant_config.json``: which matrix is stored how.

Quantised are the linear layers and experts; embedding, output head, routers and norms only where a format
says so, which none here does. What a file excludes by name, pattern (``*``) or regular expression (``re:``)
stays in the model's own type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from . import formats, gptq
from .fields import Fields
from .formats import PLAIN, Format
from .gptq import Rule

#: what checkpoints of different origin put before ``layers.0``
_ROOTS = re.compile(r"^(model\.|language_model\.|backbone\.|text_model\.|transformer\.)+")


@dataclass(frozen=True, slots=True)
class Quantisation:
    """The format of every matrix by its name; ``method`` as vLLM calls it, ``kv_dtype`` where the file says one,
    ``head`` that of the output head."""

    method: str
    rules: tuple[Rule, ...]
    excluded: tuple[str, ...] = ()
    kv_dtype: str = ""
    head: Format = PLAIN

    def format(self, name: str) -> Format:
        """Of the matrix called ``name`` in the checkpoint, e.g. ``layers.0.self_attn.q_proj``."""
        if any(matches(pattern, name) for pattern in self.excluded):
            return PLAIN
        return next((found for rule in self.rules if (found := rule(name))), PLAIN)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern of an exclusion list means the matrix ``name`` (without its model's prefix)."""
    if pattern.startswith("re:"):
        expression = re.compile(pattern[3:])
        return any(expression.match(root + name) for root in ("", "model.", "language_model.model.", "backbone."))
    if pattern.startswith("*"):
        return fnmatchcase("." + name, pattern) or fnmatchcase("." + name, pattern + ".*")
    pattern = _ROOTS.sub("", pattern)
    if "*" in pattern or "?" in pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")
    return f".{pattern}." in f".{name}."


def read(at: Fields, beside: Mapping[str, Any] | None = None) -> Quantisation | None:
    """What the config says, or ``hf_quant_config.json`` beside it; None for a plain checkpoint.

    Raises InputError for a method or scheme that is not known.
    """
    config = at.get("quantization_config") or at.get("compression_config")
    if beside is not None and not isinstance(beside, Mapping):
        raise at.refuse("hf_quant_config.json", beside, "must be a mapping")
    beside = (beside or {}).get("quantization", beside)
    if not config and not beside:
        return None
    if not isinstance(config or {}, Mapping) or not isinstance(beside or {}, Mapping):
        raise at.refuse("quantization_config", config, "must be a mapping")
    config = config or {}
    method = str(config.get("quant_method") or "").removesuffix("_marlin")
    if method in ("compressed-tensors", "compressed_tensors"):
        return _compressed_tensors(at, config)
    if beside or config.get("quant_algo") or method.startswith("modelopt"):
        return _modelopt(at, dict(config), dict(beside or {}))
    reader = METHODS.get(method)
    if reader is None:
        raise at.refuse("quantization_config.quant_method", method, f"one of {', '.join([*METHODS, *OTHERS])}")
    return reader(at, config)


OTHERS = ("compressed-tensors", "modelopt")


def online(method: str) -> Quantisation:
    """What vLLM makes of a plain checkpoint while it loads it; ``method`` is one of `ONLINE`."""
    return Quantisation(method, (_all(ONLINE[method]),))


ONLINE = {
    "fp8": formats.fp8(),
    "ptpc_fp8": formats.fp8(per_channel=True),
    "bitsandbytes": formats.nf4(double=False),
    "mxfp8": formats.mxfp8(),
}


def _all(one: Format) -> Rule:
    return lambda name: one


def _excluded(at: Fields, config: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """What these fields exclude. Raises InputError for what is no list of names and expressions."""
    found: list[str] = []
    for name in names:
        given = config.get(name) or []
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise at.refuse(f"quantization_config.{name}", given, "must be a list of names")
        for pattern in given:
            if pattern.startswith("re:"):
                gptq.expression(at, f"quantization_config.{name}", pattern[3:])
        found += given
    return tuple(dict.fromkeys(found))


def _fp8(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    block = config.get("weight_block_size")
    rules: list[Rule] = [_all(formats.fp8(_block(at, "weight_block_size", block)))]
    if at.get("expert_dtype") == "fp4":
        rules.insert(0, lambda name: formats.mxfp4() if ".experts." in name else None)
    return Quantisation("fp8", tuple(rules), _excluded(at, config, "modules_to_not_convert", "ignored_layers"))


def _block(at: Fields, field: str, given: Any) -> tuple[int, int] | None:
    """Outputs and inputs that share a scale."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != 2 or not all(isinstance(n, int) and n > 0 for n in given):
        raise at.refuse(f"quantization_config.{field}", given, "must be two positive integers")
    return given[0], given[1]


def _group(at: Fields, config: Mapping[str, Any], *names: str) -> int:
    value = next((config[name] for name in names if name in config), 128)
    if not isinstance(value, int):
        raise at.refuse(f"quantization_config.{names[0]}", value, "must be an integer")
    return max(value, 0)  # -1: one scale for all inputs


def _bits(at: Fields, config: Mapping[str, Any], *names: str) -> int:
    value = next((config[name] for name in names if name in config), None)
    if value not in (4, 8):
        raise at.refuse(f"quantization_config.{names[0]}", value, "4 or 8")
    return int(value)


def _awq(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    bits = _bits(at, config, "bits", "w_bit")
    one = formats.integer4(_group(at, config, "group_size", "q_group_size"), bool(config.get("zero_point", True)), bits)
    return Quantisation("awq", (_all(one),), _excluded(at, config, "modules_to_not_convert"))


def _gptq(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    head = gptq.integers(at, config) if config.get("lm_head") else PLAIN
    return Quantisation("gptq", gptq.gptq(at, config), _excluded(at, config, "modules_to_not_convert"), head=head)


def _auto_round(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    return Quantisation("inc", gptq.auto_round(at, config))


def _fbgemm(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    one = formats.fp8(per_channel=True)
    return Quantisation("fbgemm_fp8", (_all(one),), _excluded(at, config, "modules_to_not_convert"))


def _mxfp4(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    """gpt-oss: the experts alone."""
    return Quantisation(
        "mxfp4",
        (lambda name: formats.mxfp4() if ".experts." in name else None,),
        _excluded(at, config, "modules_to_not_convert"),
    )


def _bitsandbytes(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    if config.get("load_in_8bit"):
        one = formats.int8()
    elif config.get("load_in_4bit"):
        one = formats.nf4(bool(config.get("bnb_4bit_use_double_quant")))
    else:
        raise at.refuse("quantization_config.load_in_4bit", None, "load_in_4bit or load_in_8bit must be true")
    return Quantisation("bitsandbytes", (_all(one),), _excluded(at, config, "llm_int8_skip_modules"))


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
}


def _scheme(at: Fields, group: Mapping[str, Any], where: str) -> Format:
    """The format of a group of ``config_groups``: bits, type and strategy of weights, and whether inputs follow."""
    weights, inputs = group.get("weights") or {}, group.get("input_activations") or {}
    if not isinstance(weights, Mapping) or not isinstance(inputs, Mapping):
        raise at.refuse(f"{where}.weights", weights, "must be a mapping, as input_activations must")
    bits, kind = weights.get("num_bits"), weights.get("type", "int")
    size, strategy = weights.get("group_size") or 0, weights.get("strategy")
    plain_inputs = not inputs
    if (kind, bits) == ("float", 8):
        block = _block(at, "block_structure", weights.get("block_structure")) if strategy == "block" else None
        if strategy == "group" and size == 32:
            return formats.mxfp8()
        return formats.fp8(block, strategy == "channel", plain_inputs)
    if (kind, bits) == ("float", 4):
        mx = size == 32 or str(group.get("format", "")).startswith("mx")
        return formats.mxfp4(plain_inputs) if mx else formats.nvfp4(plain_inputs, size or 16)
    if (kind, bits) == ("int", 8) and not (plain_inputs and size > 0):
        return formats.int8(plain_inputs)
    if kind == "int" and bits in (4, 8) and plain_inputs:
        return formats.integer4(max(size, 0), not weights.get("symmetric", True), bits)
    if (kind, bits) == ("int", 4) and inputs.get("num_bits") == 8:  # W4A8: unpacked to the inputs' type
        one = formats.integer4(max(size, 0), False)
        compute = "fp8" if inputs.get("type") == "float" else "int8"
        return Format(one.name, one.bits, compute, one.rows, one.columns, one.scale_bytes)
    raise at.refuse(f"{where}.weights", f"{kind}{bits} {strategy}", "is not a known scheme")


def _targets(at: Fields, where: str, group: Mapping[str, Any], one: Format) -> Rule:
    """Whole kinds (``Linear``) or names of matrices."""
    targets = _excluded(at, group, "targets") or ("Linear",)
    kinds = [target for target in targets if target[:1].isupper() and target != "Linear"]
    if kinds:
        raise at.refuse(f"{where}.targets", kinds[0], "must be Linear, or name matrices: there are no other kinds here")
    if "Linear" in targets:
        return _all(one)
    bare = frozenset(_ROOTS.sub("", target) for target in targets)
    patterns = tuple(target for target in targets if "*" in target or target.startswith("re:"))
    return lambda name: one if name in bare or any(matches(pattern, name) for pattern in patterns) else None


def _compressed_tensors(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    rules = []
    groups, sparsity = config.get("config_groups") or {}, config.get("sparsity_config") or {}
    if not isinstance(groups, Mapping) or not all(isinstance(group, Mapping) for group in groups.values()):
        raise at.refuse("quantization_config.config_groups", groups, "must be a mapping of mappings")
    if sparsity and sparsity.get("format") != "dense":
        allowed = "is not modelled: half of the weights would be left out"
        raise at.refuse("quantization_config.sparsity_config.format", sparsity.get("format"), allowed)
    for name, group in groups.items():
        where = f"quantization_config.config_groups.{name}"
        rules.append(_targets(at, where, group, _scheme(at, {"format": config.get("format"), **group}, where)))
    if not rules:
        raise at.refuse("quantization_config.config_groups", None, "is missing or empty")
    rules.sort(key=lambda rule: rule("") is not None)  # named matrices before whole kinds
    kv = config.get("kv_cache_scheme") or {}
    kv_dtype = "fp8" if isinstance(kv, Mapping) and kv.get("num_bits") == 8 else ""
    return Quantisation("compressed-tensors", tuple(rules), _excluded(at, config, "ignore"), kv_dtype)


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


def _modelopt(at: Fields, config: dict[str, Any], beside: dict[str, Any]) -> Quantisation:
    both = {**config, **{key: value for key, value in beside.items() if value is not None}}
    algorithm = both.get("quant_algo")
    kv = both.get("kv_cache_quant_algo") or both.get("kv_cache_scheme")
    kv_dtype = "fp8" if kv == "FP8" or (isinstance(kv, Mapping) and kv.get("num_bits") == 8) else ""
    if kv and not kv_dtype and kv != "NONE":
        raise at.refuse("quantization.kv_cache_quant_algo", kv, "must be FP8 or none: vLLM 0.19 has no other")
    excluded = _excluded(at, both, "exclude_modules", "ignore", "modules_to_not_convert")
    if algorithm == "MIXED_PRECISION":
        layers = both.get("quantized_layers") or {}
        if layers:
            named = {_ROOTS.sub("", name): _algorithm(at, of.get("quant_algo")) for name, of in layers.items()}
            rules: list[Rule] = [lambda name: _nearest(named, name)]
            if both.get("quant_method") == "fp8":  # the others keep the checkpoint's own fp8
                return Quantisation("modelopt", (*rules, _all(_block_fp8(at, both))), _unless(excluded), kv_dtype)
            return Quantisation("modelopt", tuple(rules), excluded, kv_dtype)
        raise at.refuse("quantization_config.quantized_layers", None, "is missing")
    return Quantisation("modelopt", (_all(_algorithm(at, algorithm)),), excluded, kv_dtype)


def _block_fp8(at: Fields, config: Mapping[str, Any]) -> Format:
    return formats.fp8(_block(at, "weight_block_size", config.get("weight_block_size")) or (128, 128))


def _unless(excluded: tuple[str, ...]) -> tuple[str, ...]:
    """Exclusions that are about the finer format only (attention, shared experts stay in fp8) do not count."""
    return tuple(pattern for pattern in excluded if not pattern.startswith("*."))


def _algorithm(at: Fields, name: object) -> Format:
    found = ALGORITHMS.get(str(name))
    if found is None:
        raise at.refuse("quantization.quant_algo", name, f"one of {', '.join(ALGORITHMS)}, MIXED_PRECISION")
    return found


def _nearest(named: Mapping[str, Format], name: str) -> Format | None:
    """The format of a matrix, or of the module it is in."""
    while name:
        if name in named:
            return named[name]
        name = name.rpartition(".")[0]
    return None

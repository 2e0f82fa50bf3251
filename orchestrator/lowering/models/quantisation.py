"""``quantization_config`` and ``hf_quant_config.json``: which matrix is stored how.

Quantised are the linear layers and experts; embedding, output head, routers and norms only where a format
says so, which none here does. What a file excludes by name, pattern (``*``) or regular expression (``re:``)
stays in the model's own type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from . import formats, gptq
from .fields import Fields
from .formats import PLAIN, Format
from .gptq import ROOTS, Rule

#: what checkpoints of different origin put before ``layers.0``
_ROOTS = re.compile(r"^(model\.|language_model\.|backbone\.|text_model\.|transformer\.)+")


@dataclass(frozen=True, slots=True)
class Quantisation:
    """The format of every matrix by its name; ``method`` as vLLM calls it, ``kv_dtype`` where the file says one,
    ``head`` that of the output head, ``warning`` what is done beside and not counted."""

    method: str
    rules: tuple[Rule, ...]
    excluded: tuple[str, ...] = ()
    kv_dtype: str = ""
    head: Format = PLAIN
    warning: str = ""

    def format(self, name: str) -> Format:
        """Of the matrix called ``name`` in the checkpoint, e.g. ``layers.0.self_attn.q_proj``."""
        if any(matches(pattern, name) for pattern in self.excluded):
            return PLAIN
        return next((found for rule in self.rules if (found := rule(name))), PLAIN)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern of an exclusion list means the matrix ``name`` (without its model's prefix)."""
    if pattern.startswith("re:"):
        expression = re.compile(pattern[3:])
        return any(expression.match(root + name) for root in ROOTS)
    if pattern.startswith("*"):
        return fnmatchcase("." + name, pattern) or fnmatchcase("." + name, pattern + ".*")
    pattern = _ROOTS.sub("", pattern)
    if "*" in pattern or "?" in pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")
    return f".{pattern}." in f".{name}."


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
        return _compressed_tensors(at, config)
    if beside or config.get("quant_algo") or method.startswith("modelopt"):
        return _modelopt(at, dict(config), dict(beside or {}))
    reader = METHODS.get(method)
    if reader is None:
        raise at.refuse("quantization_config.quant_method", method, f"one of {', '.join([*METHODS, *OTHERS])}")
    return reader(at, config)


OTHERS = ("compressed-tensors", "modelopt")


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
    if (scheme := config.get("activation_scheme", "dynamic")) not in ("dynamic", "static"):
        raise at.refuse("quantization_config.activation_scheme", scheme, "dynamic or static")
    rules: list[Rule] = [_all(formats.fp8(_block(at, "weight_block_size", block)))]
    if at.get("expert_dtype") == "fp4":
        rules.insert(0, lambda name: formats.mxfp4() if ".experts." in name else None)
    return Quantisation("fp8", tuple(rules), _excluded(at, config, "modules_to_not_convert", "ignored_layers"))


def _block(at: Fields, field: str, given: Any) -> tuple[int, int] | None:
    """Outputs and inputs that share a scale."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != 2 or not all(type(n) is int and n > 0 for n in given):
        raise at.refuse(f"quantization_config.{field}", given, "must be two positive integers")
    return given[0], given[1]


def _group(at: Fields, config: Mapping[str, Any], *names: str) -> int:
    value = next((config[name] for name in names if name in config), 128)
    if type(value) is not int:
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
    if not isinstance(of_head := config.get("lm_head", False), bool):
        raise at.refuse("quantization_config.lm_head", of_head, "must be true or false")
    head = gptq.integers(at, config) if of_head else PLAIN
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
    if config.get("load_in_8bit") and config.get("load_in_4bit"):
        raise at.refuse("quantization_config.load_in_8bit", True, "load_in_4bit is true, too: one of them")
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


#: vLLM's names for what shares a scale; without one it is by group where there is a group_size, else by tensor
STRATEGIES = (None, "tensor", "channel", "group", "block", "tensor_group")


def _scheme(at: Fields, group: Mapping[str, Any], where: str) -> Format:
    """The format of a group of ``config_groups``: bits, type and strategy of weights, and whether inputs follow."""
    weights, inputs = group.get("weights") or {}, group.get("input_activations") or {}
    if not isinstance(weights, Mapping) or not isinstance(inputs, Mapping):
        raise at.refuse(f"{where}.weights", weights, "must be a mapping, as input_activations must")
    layout = str(group.get("format") or "")
    if "24" in layout or "sparse" in layout:
        raise at.refuse("quantization_config.format", layout, "sparse weights are not modelled")
    bits, kind = weights.get("num_bits"), weights.get("type", "int")
    size, strategy = weights.get("group_size") or 0, weights.get("strategy")
    if strategy not in STRATEGIES:
        raise at.refuse(f"{where}.weights.strategy", strategy, f"one of {', '.join(filter(None, STRATEGIES))}")
    if type(size) is not int or (strategy == "group" and not size):
        raise at.refuse(f"{where}.weights.group_size", weights.get("group_size"), "must be an integer, given for group")
    of_inputs = (inputs.get("type", "int"), inputs.get("num_bits")) if inputs else None
    plain_inputs = of_inputs is None
    if (kind, bits) == ("float", 8) and of_inputs in (None, ("float", 8)):
        if strategy == "block":
            if weights.get("block_structure") is None:
                raise at.refuse(f"{where}.weights.block_structure", None, "is missing for strategy block")
            return formats.fp8(_block(at, "block_structure", weights["block_structure"]), False, plain_inputs)
        if strategy == "group" and size == 32:
            return formats.mxfp8()
        return formats.fp8(None, strategy == "channel", plain_inputs)
    if (kind, bits) == ("float", 4) and of_inputs in (None, ("float", 4)):
        mx = size == 32 or layout.startswith("mx")
        return formats.mxfp4(plain_inputs) if mx else formats.nvfp4(plain_inputs, size or 16)
    if (kind, bits) == ("int", 8) and of_inputs in (None, ("int", 8)) and not (plain_inputs and size > 0):
        return formats.int8(plain_inputs)
    if kind == "int" and bits in (4, 8) and plain_inputs:
        return formats.integer4(max(size, 0), not weights.get("symmetric", True), bits)
    if (kind, bits) == ("int", 4) and of_inputs in (("int", 8), ("float", 8)):  # W4A8: unpacked to the inputs' type
        one = formats.integer4(max(size, 0), False)
        compute = "fp8" if of_inputs == ("float", 8) else "int8"
        return Format(one.name, one.bits, compute, one.rows, one.columns, one.scale_bytes)
    shown = f"{kind}{bits} {strategy}" + (f", inputs {of_inputs[0]}{of_inputs[1]}" if of_inputs else "")
    raise at.refuse(f"{where}.weights", shown, "is not a known scheme")


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
    form = sparsity.get("format") if isinstance(sparsity, Mapping) else sparsity
    if sparsity and form != "dense":
        allowed = "is not modelled: half of the weights would be left out"
        raise at.refuse("quantization_config.sparsity_config.format", form, allowed)
    lists = [group["targets"] for group in groups.values() if isinstance(group.get("targets"), list)]
    targeted = [target for targets in lists for target in targets]
    if twice := sorted({str(target) for target in targeted if targeted.count(target) > 1}):
        raise at.refuse("quantization_config.config_groups", twice[0], "is a target of two groups")
    for name, group in groups.items():
        where = f"quantization_config.config_groups.{name}"
        rules.append(_targets(at, where, group, _scheme(at, {"format": config.get("format"), **group}, where)))
    if not rules:
        raise at.refuse("quantization_config.config_groups", None, "is missing or empty")
    rules.sort(key=lambda rule: rule("") is not None)  # named matrices before whole kinds
    kv = config.get("kv_cache_scheme")
    if kv and not (isinstance(kv, Mapping) and (kv.get("type"), kv.get("num_bits")) == ("float", 8)):
        allowed = "must be of type float and num_bits 8: vLLM 0.19 has no other"
        raise at.refuse("quantization_config.kv_cache_scheme", kv, allowed)
    turned = "transform_config: the rotations that it does between matrices are not counted"
    return Quantisation(
        "compressed-tensors",
        tuple(rules),
        _excluded(at, config, "ignore"),
        "fp8" if kv else "",
        warning=turned if config.get("transform_config") else "",
    )


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
        if not isinstance(layers, Mapping) or not all(isinstance(of, Mapping) for of in layers.values()):
            raise at.refuse("quantization_config.quantized_layers", layers, "must be a mapping of mappings")
        if layers:
            named = {_ROOTS.sub("", name): _algorithm(at, of) for name, of in layers.items()}
            rules: list[Rule] = [lambda name: _nearest(named, name)]
            if both.get("quant_method") == "fp8":  # the others keep the checkpoint's own fp8
                return Quantisation("modelopt", (*rules, _all(_block_fp8(at, both))), _unless(excluded), kv_dtype)
            return Quantisation("modelopt", tuple(rules), excluded, kv_dtype)
        raise at.refuse("quantization_config.quantized_layers", None, "is missing")
    return Quantisation("modelopt", (_all(_algorithm(at, both)),), excluded, kv_dtype)


def _block_fp8(at: Fields, config: Mapping[str, Any]) -> Format:
    return formats.fp8(_block(at, "weight_block_size", config.get("weight_block_size")) or (128, 128))


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

"""compressed-tensors: groups of matrices by kind or name, each with its scheme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import formats
from .fields import Fields
from .formats import Format
from .gptq import Rule
from .rules import ROOTS_OF, Quantisation, block_of, everything, left_out, matches

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
            return formats.fp8(block_of(at, "block_structure", weights["block_structure"]), False, plain_inputs)
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
    targets = left_out(at, group, "targets") or ("Linear",)
    kinds = [target for target in targets if target[:1].isupper() and target != "Linear"]
    if kinds:
        raise at.refuse(f"{where}.targets", kinds[0], "must be Linear, or name matrices: there are no other kinds here")
    if "Linear" in targets:
        return everything(one)
    bare = frozenset(ROOTS_OF.sub("", target) for target in targets)
    patterns = tuple(target for target in targets if "*" in target or target.startswith("re:"))
    return lambda name: one if name in bare or any(matches(pattern, name) for pattern in patterns) else None


def compressed_tensors(at: Fields, config: Mapping[str, Any]) -> Quantisation:
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
        left_out(at, config, "ignore"),
        "fp8" if kv else "",
        warning=turned if config.get("transform_config") else "",
    )

"""Integers of 4 or 8 bits by matrix: what GPTQ and AutoRound files say beside one number of bits for all.

Rules of vLLM 0.19: `model_executor/layers/quantization/utils/gptq_utils.py` (get_dynamic_override,
is_layer_gptq_quantized), `inc.py` (get_layer_config).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from . import formats
from .fields import Fields
from .formats import PLAIN, Format
from .names import as_one

#: what checkpoints of different origin put before ``layers.0``
ROOTS = (
    "",
    "model.",
    "language_model.model.",
    "model.language_model.",
    "language_model.",
    "backbone.",
    "transformer.",
    "gpt_neox.",
)
#: characters that make a name of AutoRound's ``extra_config`` an expression
SPECIAL = frozenset("*+?^$()[]{}|\\")
Rule = Callable[[str], Format | None]


def integers(at: Fields, config: Mapping[str, Any], field: str = "quantization_config") -> Format:
    """The format that a file has for all its matrices. Files of both kinds have zero points, symmetric or not."""
    bits, group = config.get("bits"), config.get("group_size", 128)
    if bits not in (4, 8):
        raise at.refuse(f"{field}.bits", bits, "4 or 8")
    if not isinstance(group, int):
        raise at.refuse(f"{field}.group_size", group, "must be an integer")
    return formats.integer4(max(group, 0), True, int(bits))  # -1: one scale for all inputs


def expression(at: Fields, field: str, pattern: str) -> re.Pattern[str]:
    """A regular expression of a file. Raises InputError where it is none."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise at.refuse(field, pattern, f"is no regular expression: {error}") from None


def gptq(at: Fields, config: Mapping[str, Any]) -> tuple[Rule, ...]:
    """``dynamic`` excludes (``-:``) or changes (``+:``) by expression; ``modules_in_block_to_quantize`` is all."""
    field = "quantization_config.dynamic"
    dynamic = config.get("dynamic") or {}
    if not isinstance(dynamic, Mapping):
        raise at.refuse(field, dynamic, "must be a mapping")
    changes = []
    for pattern, change in dynamic.items():
        bare = pattern.removeprefix("-:").removeprefix("+:")
        one = PLAIN if pattern.startswith("-:") else integers(at, {**config, **(change or {})}, f"{field}.{pattern}")
        changes.append((expression(at, field, bare), one))
    named = _names(at, config.get("modules_in_block_to_quantize") or [])
    all_of = integers(at, config)

    def rule(name: str) -> Format:
        if named and not any(part in root + name for part in named for root in ROOTS):
            return PLAIN
        called = [root + one for one in (name, as_one(name)) for root in ROOTS]  # vLLM asks by what it computes as one
        found = (one for matched, one in changes if any(map(matched.match, called)))
        return next(found, all_of)

    return (rule,)


def _names(at: Fields, given: Any) -> list[str]:
    """Names, in lists or lists of lists."""
    flat = [name for part in given for name in (part if isinstance(part, list) else [part])]
    if not all(isinstance(name, str) for name in flat):
        raise at.refuse("quantization_config.modules_in_block_to_quantize", given, "must be names of matrices")
    return flat


def auto_round(at: Fields, config: Mapping[str, Any]) -> tuple[Rule, ...]:
    """AutoRound: ``extra_config`` by name or expression, ``block_name_to_quantize`` is all there is."""
    field = "quantization_config.extra_config"
    packing = config.get("packing_format", "auto_round:auto_gptq")
    if config.get("data_type", "int") != "int" or packing not in ("auto_round:auto_gptq", "auto_round:auto_awq"):
        allowed = "vLLM takes auto_round:auto_gptq and auto_round:auto_awq, of data_type int"
        raise at.refuse("quantization_config.packing_format", packing, allowed)
    all_of, names, expressions = integers(at, config), {}, []
    for name, change in (config.get("extra_config") or {}).items():
        both = {**config, **change}
        one = PLAIN if both.get("bits", 16) >= 16 else integers(at, both, f"{field}.{name}")
        names[name] = one
        if SPECIAL & set(name):
            expressions.append((expression(at, field, name), one))
    blocks = config.get("block_name_to_quantize") or config.get("to_quant_block_names")
    wanted = tuple(blocks.split(",") if isinstance(blocks, str) else blocks or ())

    def rule(name: str) -> Format:
        rooted = [root + name for root in ROOTS]
        for one in (names[full] for full in rooted if full in names):
            return one
        for matched, one in expressions:
            if any(matched.search(full) for full in rooted):
                return one
        return all_of if not wanted or any(full.startswith(wanted) for full in rooted) else PLAIN

    return (rule,)

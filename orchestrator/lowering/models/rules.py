"""Which matrix a quantised checkpoint stores how: rules by name, and lists of what they leave out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .fields import Fields
from .formats import PLAIN, Format
from .gptq import ROOTS, Rule, expression

#: what checkpoints of different origin put before ``layers.0``
ROOTS_OF = re.compile(r"^(model\.|language_model\.|backbone\.|text_model\.|transformer\.)+")


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
    pattern = ROOTS_OF.sub("", pattern)
    if "*" in pattern or "?" in pattern:
        return fnmatchcase(name, pattern) or fnmatchcase(name, pattern + ".*")
    return f".{pattern}." in f".{name}."


def everything(one: Format) -> Rule:
    return lambda name: one


def left_out(at: Fields, config: Mapping[str, Any], *names: str) -> tuple[str, ...]:
    """What these fields exclude. Raises InputError for what is no list of names and expressions."""
    found: list[str] = []
    for name in names:
        given = config.get(name) or []
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise at.refuse(f"quantization_config.{name}", given, "must be a list of names")
        for pattern in given:
            if pattern.startswith("re:"):
                expression(at, f"quantization_config.{name}", pattern[3:])
        found += given
    return tuple(dict.fromkeys(found))


def block_of(at: Fields, field: str, given: Any) -> tuple[int, int] | None:
    """Outputs and inputs that share a scale."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != 2 or not all(type(n) is int and n > 0 for n in given):
        raise at.refuse(f"quantization_config.{field}", given, "must be two positive integers")
    return given[0], given[1]

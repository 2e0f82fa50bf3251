"""Which matrix a quantised checkpoint stores how: rules by name, and lists of what they leave out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .fields import Fields
from .formats import PLAIN, Format
from .gptq import ROOTS, Rule, expression
from .names import as_one

#: what checkpoints of different origin put before ``layers.0``
ROOTS_OF = re.compile(r"^(model\.|language_model\.|backbone\.|text_model\.|transformer\.|gpt_neox\.)+")


@dataclass(frozen=True, slots=True)
class Quantisation:
    """The format of every matrix by its name; ``method`` as vLLM calls it, ``kv_dtype`` where the file says one,
    ``head`` that of the output head, ``warning`` what is done beside and not counted. With ``wholes`` a pattern that is
    no plain name may mean what vLLM computes as one."""

    method: str
    rules: tuple[Rule, ...]
    excluded: tuple[str, ...] = ()
    kv_dtype: str = ""
    head: Format = PLAIN
    warning: str = ""
    wholes: bool = False

    def format(self, name: str) -> Format:
        """Of the matrix called ``name`` in the checkpoint, e.g. ``layers.0.self_attn.q_proj``."""
        if any(self._means(pattern, name) for pattern in self.excluded):
            return PLAIN
        return next((found for rule in self.rules if (found := rule(name))), PLAIN)

    def _means(self, pattern: str, name: str) -> bool:
        return matches(pattern, name) or (self.wholes and "*" in pattern and matches(pattern, as_one(name)))

    def unknown(self, names: Collection[str], layers: int) -> list[str]:
        """Exclusions that name none of these matrices, where they are about a layer's: not those of heads, encoders of
        images, norms, routers and draft models, which are never quantised here."""
        return [
            pattern
            for pattern in self.excluded
            if not (ASIDE.search(pattern) or _beyond(pattern, layers))
            and not any(self._means(pattern, name) for name in names)
        ]


#: what an exclusion may name that is no matrix of a layer, or is one that no format is for
ASIDE = re.compile(
    r"head|embed|norm|vision|visual|vit|image|audio|speech|project(or|ion)|merge|mlp1|mtp|eagle|draft|gate($|[^_])|router"
    r"|rotary|conv|index|expert|output|wte|wpe|ln_|score|classif|eh_proj|dt_|A_log|\.D$|lora|kv_scale",
    re.IGNORECASE,
)


def _beyond(pattern: str, layers: int) -> bool:
    """Whether it is about layers after the model's own: those of a draft model."""
    found = re.search(r"layers?\.(\d+)", pattern)
    return found is not None and int(found[1]) in range(layers, layers + 8)


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

"""What is measured of an operation: its template at so many values of the numbers that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from metronome.hwmodels.base import ALTERATIONS
from metronome.hwmodels.interface import ConfigError, Template

DTYPES = ("bf16", "fp16", "fp32")
KINDS = ("gemm", "norm", "elementwise", "embedding", "sampler", "attention", "moe")
FIRST_CONTEXT = 16  # tokens: a KV block


class Limits(NamedTuple):
    """How far: tokens and sequences of a step, tokens of a context."""

    tokens: int
    sequences: int
    context: int


class Point(NamedTuple):
    """One measurement: ``part`` is ``prompt`` or ``decode`` of an attention, else empty."""

    template: Template
    part: str
    values: tuple[int, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What it is called in the journal."""
        return (self.template.layer, self.part, *map(str, self.values))


def powers(most: int, first: int = 1) -> list[int]:
    """first, twice that, ... and ``most``."""
    found = []
    while first < most:
        found.append(first)
        first *= 2
    return [*found, most]


def check(template: Template) -> None:
    """Raises ConfigError for what is not measured, by name."""
    at = template.attributes
    if template.kind not in KINDS:
        raise ConfigError("plan", f"{template.kind} {template.layer}", f"is not measured; what is: {', '.join(KINDS)}")
    if at["dtype"] not in DTYPES or at.get("kv_dtype", at["dtype"]) != at["dtype"]:
        shown = f"{at['dtype']}, K and V {at.get('kv_dtype', at['dtype'])}"
        allowed = f"of {template.layer} is not measured; what is: {', '.join(DTYPES)}, one for all"
        raise ConfigError("plan", shown, allowed)
    for name, meaning in ALTERATIONS.items():
        if name in at:
            raise ConfigError("plan", f"{template.layer}: {name}", f"{meaning} are not measured")


def of(template: Template, limits: Limits) -> Iterator[Point]:
    """Its measurements, small ones first."""
    if template.kind == "attention":
        for chunk in powers(limits.tokens, FIRST_CONTEXT):
            for cached in (0, *powers(limits.context, FIRST_CONTEXT)):
                yield Point(template, "prompt", (chunk, cached))
        for decodes in powers(limits.sequences):
            for context in powers(limits.context, FIRST_CONTEXT):
                yield Point(template, "decode", (decodes, context))
    elif template.kind == "moe":
        experts, top_k = int(template.attributes["experts"]), int(template.attributes["top_k"])
        for tokens in powers(limits.tokens):
            for active in powers(experts):
                if active <= tokens * top_k:
                    yield Point(template, "", (tokens, active))
    else:
        by_sequences = per_sequence(template)
        for count in powers(limits.sequences if by_sequences else limits.tokens):
            yield Point(template, "", (count,))


def per_sequence(template: Template) -> bool:
    """Whether it is done for a step's sequences, not its tokens: in the tables of a bundle these are apart."""
    return template.kind == "sampler" or template.layer == "lm_head"


def distinct(templates: Sequence[Template]) -> list[Template]:
    """One of each layer, by whose name a bundle tells operations. Raises ConfigError where that is not enough."""
    found: dict[str, Template] = {}
    for template in templates:
        check(template)
        first = found.setdefault(template.layer, template)
        if (first.kind, dict(first.attributes)) != (template.kind, dict(template.attributes)):
            raise ConfigError("plan", template.layer, "is of two shapes, which a bundle cannot tell apart")
    return list(found.values())

"""FLOPs and bytes of an operation from its shapes alone: an output is written once, each input read once, and
weights are read in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..interface import DTYPE_BYTES, Attribute, Template
from .choosing import choosing_bytes


def work(template: Template, values: tuple[int, ...]) -> tuple[float, float]:
    """(FLOPs, bytes) of one operation."""
    at = template.attributes
    width = DTYPE_BYTES[str(at["dtype"])]
    weight = float(at["weight_bits"]) / 8 if "weight_bits" in at else width
    if template.kind == "gemm":
        m, n, k = values[0], int(at["n"]), int(at["k"])
        return 2.0 * m * n * k, m * n * width + k * n * weight + m * k * DTYPE_BYTES[
            str(at.get("compute", at["dtype"]))
        ]
    if template.kind == "attention":
        return _attention(at, values)
    if template.kind == "moe":
        tokens, active = values
        hidden, inter, top_k = int(at["hidden"]), int(at["intermediate"]), int(at["top_k"])
        routed, matrices = tokens * top_k, 3 if at.get("gated", True) else 2
        flops = 2.0 * routed * matrices * hidden * inter + 2.0 * tokens * hidden * int(at["experts"])
        moved = active * matrices * hidden * inter * weight
        inputs = routed * (hidden + inter) * DTYPE_BYTES[str(at.get("compute", at["dtype"]))]
        return flops, moved + inputs + routed * (hidden + matrices * inter) * width
    if template.kind == "state":
        return _state(at, values)
    elements = values[0] * int(at["width"])
    if "sorts" in at:
        return elements, elements * width + choosing_bytes(template, values)
    return elements, elements * width


def written(template: Template, values: tuple[int, ...]) -> float:
    """Of the bytes of `work`, those that are outputs. Of vector operations and states, which read what they write anew,
    half."""
    at = template.attributes
    width = DTYPE_BYTES[str(at["dtype"])]
    if template.kind == "gemm":
        return values[0] * int(at["n"]) * width
    if template.kind == "attention":
        queries = values[0] + sum(values[4::2])
        return queries * int(at["heads"]) * int(at.get("v_head_size", at["head_size"])) * width
    if template.kind == "moe":
        matrices = 3 if at.get("gated", True) else 2
        return values[0] * int(at["top_k"]) * (int(at["hidden"]) + matrices * int(at["intermediate"])) * width
    return work(template, values)[1] / 2


def converted(template: Template, values: tuple[int, ...]) -> float:
    """Bytes moved, before a product, to make its inputs of the type it is computed in: they are read for their
    scale, read again, and written. 0 where they have that type."""
    at = template.attributes
    if "compute" not in at:
        return 0.0
    inputs = values[0] * int(at["k"] if template.kind == "gemm" else at["hidden"])
    if template.kind == "moe":
        inputs += values[0] * int(at["top_k"]) * int(at["intermediate"])
    return inputs * (2 * DTYPE_BYTES[str(at["dtype"])] + DTYPE_BYTES[str(at["compute"])])


def _state(at: Mapping[str, Attribute], values: tuple[int, ...]) -> tuple[float, float]:
    """Each token decays the state, adds an outer product to it and reads it: six FLOPs a number. The state is
    read and written once a sequence; a token's inputs and output, and the convolution's, once."""
    tokens, sequences = values
    size = int(at["heads"]) * int(at["head_size"])
    numbers, wide, width = size * int(at["depth"]), int(at["conv_width"]), DTYPE_BYTES[str(at["dtype"])]
    kernel = int(at.get("kernel", 4))
    flops = tokens * (6.0 * numbers + 2.0 * wide * kernel)
    kept = numbers * DTYPE_BYTES[str(at["state_dtype"])] + wide * (kernel - 1) * width
    return flops, 2 * sequences * kept + tokens * (2 * wide + 2 * size) * width


def _attention(at: Mapping[str, Attribute], values: tuple[int, ...]) -> tuple[float, float]:
    """Scores and weighted sum over what is seen; K and V read once a sequence, as far as they are seen."""
    heads, kv_heads, size = int(at["heads"]), int(at["kv_heads"]), int(at["head_size"])
    v_size = int(at.get("v_head_size", size))
    sees, chunk = int(at.get("sees", 0)), bool(at.get("chunk", False))
    decodes, context_sum = values[0], values[1]
    context = context_sum + decodes  # each new token also attends to itself
    prompts = list(zip(values[4::2], values[5::2], strict=True))
    seen = sum(pairs_seen(new, cached, sees, chunk) for new, cached in prompts)
    far = 0.0
    if "compress" in at:
        ratio, chosen = int(at["compress"]), int(at.get("top_k_tokens", 0))
        seen += sum(pairs_seen(new, cached, chosen * ratio) / ratio for new, cached in prompts)
        far = sum((new + cached) / ratio for new, cached in prompts)
    flops = 2.0 * context * heads * (size + v_size)
    flops += 2.0 * seen * heads * (int(at.get("prompt_head_size", size)) + int(at.get("prompt_v_head_size", v_size)))
    read = (
        context
        + far
        + sum(
            new + (min(cached, sees) if sees and ("compress" in at or "top_k_tokens" not in at) else cached)
            for new, cached in prompts
        )
    )
    queries = decodes + sum(new for new, _ in prompts)
    moved = queries * heads * (size + v_size) * DTYPE_BYTES[str(at["dtype"])]
    kept = size if at.get("shared_kv") else size + v_size
    return flops, moved + read * kv_heads * kept * DTYPE_BYTES[str(at["kv_dtype"])]


class DecodeLine(NamedTuple):
    """`work` of attention of decodes alone: it follows their number and the tokens that all of them see.

    Attributes:
        flops, size: of one more decode. key_flops, key_size: of one more token it sees. Sizes in bytes.
    """

    flops: float
    size: float
    key_flops: float
    key_size: float

    @classmethod
    def of(cls, template: Template) -> DecodeLine:
        none, one, key = (work(template, (*each, 0, 0)) for each in ((0, 0), (1, 0), (0, 1)))
        return cls(one[0] - none[0], one[1] - none[1], key[0] - none[0], key[1] - none[1])

    def work(self, decodes: int, context: int) -> tuple[float, float]:
        """(FLOPs, bytes)."""
        return decodes * self.flops + context * self.key_flops, decodes * self.size + context * self.key_size


def pairs_seen(new: int, cached: int, sees: int = 0, chunk: bool = False) -> float:
    """(query, key) pairs of a prompt's new tokens over its cached ones and themselves.

    A query sees at most ``sees`` tokens (0 = all), or those of its own chunk of so many.
    """
    if not sees:
        return new * (cached + (new + 1) / 2)
    if chunk:
        return _in_chunks(cached + new, sees) - _in_chunks(cached, sees)
    below = max(0, min(new, sees - cached))  # queries that see all before them
    return below * (cached + (below + 1) / 2) + (new - below) * sees


def _in_chunks(tokens: int, size: int) -> float:
    whole, rest = divmod(tokens, size)
    return whole * size * (size + 1) / 2 + rest * (rest + 1) / 2

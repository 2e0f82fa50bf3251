"""Qwen3-Next and Qwen3.5: three layers of gated delta nets to one of gated attention."""

from __future__ import annotations

from . import attention, feedforward, plain, state
from .attention import Style
from .fields import Fields
from .parts import Layer


def layers(at: Fields, fused: bool) -> list[Layer]:
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    interval = at.number("full_attention_interval", default=4)
    kinds = at.each("layer_types", count) or [
        "full_attention" if (layer + 1) % interval == 0 else "linear_attention" for layer in range(count)
    ]
    linear = state.gated_delta_net(at, fused)
    full = attention.grouped(at, Style("head", gate=at.flag("attn_output_gate", default=True)))
    routed = at.get("num_experts") is not None
    sparse = plain.with_experts(at, count) if routed else [False] * count
    experts = feedforward.experts(at, shared=plain.shared_by_width(at), shared_gate=True) if routed else None
    dense = None if all(sparse) else feedforward.mlp(at, at.number("intermediate_size"))
    return [
        Layer(full if kind == "full_attention" else linear, experts if some else dense, 2 * hidden)
        for kind, some in zip(kinds, sparse, strict=True)
    ]

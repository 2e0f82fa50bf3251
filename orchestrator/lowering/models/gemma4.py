"""Gemma 4: wide heads in the full layers, there with values made of the keys; experts beside a dense MLP."""

from __future__ import annotations

from . import attention, feedforward
from .attention import Style
from .fields import Fields
from .parts import Layer, Linear


def layers(at: Fields) -> list[Layer]:
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    spans = attention.windows(at, count)
    shared = at.number("num_kv_shared_layers", default=0, least=0)
    routed = at.flag("enable_moe_block")
    per_layer = at.number("hidden_size_per_layer_input", default=0, least=0)
    dense = feedforward.mlp(at, at.number("intermediate_size"))
    experts = (
        feedforward.experts(
            at,
            width=at.number("moe_intermediate_size"),
            path="",
            router="router.proj",
            vectors=hidden + at.number("num_experts"),
        )
        if routed
        else None
    )
    extra = (
        (
            Linear("per_layer_input_gate", per_layer, hidden, "", quantisable=False),
            Linear("per_layer_projection", hidden, per_layer, "", quantisable=False),
        )
        if per_layer
        else ()
    )
    if at.flag("use_double_wide_mlp"):
        raise at.refuse("use_double_wide_mlp", True, "is not modelled")
    norms = (4 + (3 if routed else 0) + (1 if per_layer else 0)) * hidden + 1  # and a scalar
    found = []
    for layer, span in enumerate(spans):
        keeps = layer < count - shared
        if span:
            mixer = attention.grouped(at, Style("head"), window=span, keeps=keeps)
        else:
            mixer = attention.grouped(
                at,
                Style("head"),
                kv_heads=at.number("num_global_key_value_heads", "num_key_value_heads"),
                size=at.number("global_head_dim", "head_dim"),
                value_is_key=at.flag("attention_k_eq_v"),
                keeps=keeps,
            )
        found.append(Layer(mixer, experts or dense, norms, dense if experts else None, extra))
    return found

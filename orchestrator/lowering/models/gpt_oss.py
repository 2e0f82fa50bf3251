"""gpt-oss: attention sinks, windows in every other layer, biases everywhere."""

from __future__ import annotations

from . import attention, feedforward
from .attention import Style
from .fields import Fields
from .parts import Layer


def layers(at: Fields) -> list[Layer]:
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    style = Style(qkv_bias=True, o_bias=None, sinks=True)
    experts = feedforward.experts(
        at, width=at.number("intermediate_size"), bias=True, router="router", router_bias=True
    )
    kinds = at.each("layer_types", count)
    spans = (
        attention.windows(at, count)
        if kinds
        else [at.number("sliding_window") if layer % 2 == 0 else 0 for layer in range(count)]
    )
    return [Layer(attention.grouped(at, style, window=span), experts, 2 * hidden) for span in spans]

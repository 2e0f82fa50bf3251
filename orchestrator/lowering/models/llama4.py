"""Llama 4: chunked attention in three of four layers, experts in every n-th, one of them shared."""

from __future__ import annotations

from . import attention, feedforward
from .attention import Style
from .fields import Fields
from .parts import Layer


def layers(at: Fields) -> list[Layer]:
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    chunk, width = at.number("attention_chunk_size", default=0), at.number("intermediate_size")
    step = at.number("interleave_moe_layer_step", default=1)
    listed = at.get("moe_layers")
    routed = set(listed) if isinstance(listed, list) and listed else set(range(step - 1, count, step))
    rope = at.numbers("no_rope_layers")  # 1 = rotated, and then in chunks
    shared = feedforward.mlp(at, width, path="feed_forward.shared_expert")
    experts = feedforward.experts(at, width=width, path="feed_forward", router="router", shared=shared)
    dense = feedforward.mlp(at, at.number("intermediate_size_mlp", "intermediate_size"), path="feed_forward")
    found = []
    for layer in range(count):
        rotated = bool(rope[layer]) if layer in rope else (layer + 1) % 4 != 0
        mixer = attention.grouped(at, Style(o_bias=None), chunk=chunk if rotated else 0, rotary=rotated)
        found.append(Layer(mixer, experts if layer in routed else dense, 2 * hidden))
    return found

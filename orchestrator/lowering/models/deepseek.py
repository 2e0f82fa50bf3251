"""Latent attention and experts: DeepSeek V2, V3, R1 and V3.2, Kimi K2, GLM-5, GLM-4.7-Flash."""

from __future__ import annotations

from . import attention, feedforward, plain
from .fields import Fields
from .parts import Layer


def layers(at: Fields) -> list[Layer]:
    hidden, count = at.number("hidden_size"), at.number("num_hidden_layers")
    sparse = plain.with_experts(at, count)
    routed = plain.deepseek(at) if any(sparse) else None
    dense = None if all(sparse) else feedforward.mlp(at, at.number("intermediate_size"))
    return [
        Layer(attention.latent(at, index=attention.indexer(at, layer)), routed if some else dense, 2 * hidden)
        for layer, some in enumerate(sparse)
    ]

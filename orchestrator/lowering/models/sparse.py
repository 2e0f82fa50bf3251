"""MiniMax-M3 (blocks of tokens chosen by an index), MiMo-V2 and Step-3 (windows with heads of their own)."""

from __future__ import annotations

from . import attention, feedforward, plain
from .attention import Style
from .fields import Fields
from .parts import Experts, Index, Layer, Linear


def minimax_m3(at: Fields) -> list[Layer]:
    """Queries of the sparse layers attend to ``sparse_topk_blocks`` blocks of all tokens before them."""
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    of = at.get("sparse_attention_config", default={})
    chosen = (of.get("sparse_attention_freq") or [1] * count) if of.get("use_sparse_attention") else [0] * count
    heads, size = of.get("sparse_num_index_heads", 0), of.get("sparse_index_dim", 0)
    index = Index(
        heads,
        size,
        of.get("sparse_topk_blocks", 0) * of.get("sparse_block_size", 0),
        (
            Linear("self_attn.index_q_proj", heads * size, hidden, ""),
            Linear("self_attn.index_k_proj", size, hidden, ""),
        ),
    )
    width = at.number("moe_intermediate_size", "intermediate_size")
    shared = at.number("n_shared_experts", default=0, least=0) * at.number("shared_intermediate_size", default=width)
    experts = feedforward.experts(
        at,
        width=width,
        path="block_sparse_moe",
        names=("w1", "w3", "w2"),
        shared=feedforward.mlp(at, shared, path="block_sparse_moe.shared_experts") if shared else None,
        vectors=at.number("num_local_experts"),
    )
    dense = feedforward.mlp(at, at.number("dense_intermediate_size"))
    style = Style("head", gate=at.flag("attention_output_gate"))
    return [
        Layer(
            attention.grouped(at, style, index=index) if chosen[layer] else attention.grouped(at, style),
            experts if some else dense,
            2 * hidden,
        )
        for layer, some in enumerate(plain.with_experts(at, count))
    ]


def mimo(at: Fields) -> list[Layer]:
    """MiMo-V2: windows where ``hybrid_layer_pattern`` is 1, with KV heads and sinks of their own."""
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    local = at.each("hybrid_layer_pattern", count)
    if local is None:
        raise at.refuse("hybrid_layer_pattern", None, "is missing")
    full = attention.grouped(at, Style(sinks=at.flag("add_full_attention_sink_bias")), v_size=at.number("v_head_dim"))
    windowed = attention.grouped(
        at,
        Style(sinks=at.flag("add_swa_attention_sink_bias")),
        heads=at.number("swa_num_attention_heads"),
        kv_heads=at.number("swa_num_key_value_heads"),
        size=at.number("swa_head_dim"),
        v_size=at.number("swa_v_head_dim"),
        window=at.number("sliding_window"),
    )
    sparse = plain.with_experts(at, count)
    experts, dense = plain.deepseek(at), feedforward.mlp(at, at.number("intermediate_size"))
    return [
        Layer(windowed if local[layer] else full, experts if some else dense, 2 * hidden)
        for layer, some in enumerate(sparse)
    ]


def step(at: Fields) -> list[Layer]:
    """Step-3.7: windows by ``layer_types``, dense layers first, a shared expert."""
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    shared = at.number("share_expert_dim", default=0, least=0)
    experts: Experts = feedforward.experts(
        at,
        path="moe",
        shared=feedforward.mlp(at, shared, path="share_expert") if shared else None,
        vectors=at.number("num_experts") if at.flag("use_moe_router_bias") else 0,
    )
    dense = feedforward.mlp(at, at.number("intermediate_size"))
    spans, sparse = attention.windows(at, count), plain.with_experts(at, count)
    return [
        Layer(attention.grouped(at, Style("head"), window=span), experts if some else dense, 2 * hidden)
        for span, some in zip(spans, sparse, strict=True)
    ]

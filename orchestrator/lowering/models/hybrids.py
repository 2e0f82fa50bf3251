"""Granite 4, Jamba and Kimi Linear: states in most layers, attention in a few."""

from __future__ import annotations

from . import attention, feedforward, plain, state
from .attention import Style
from .fields import Fields
from .parts import Experts, Layer, Mlp


def granite(at: Fields) -> list[Layer]:
    """Granite 4: Mamba-2 or attention by ``layer_types``, then a shared MLP and perhaps experts."""
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    kinds = at.each("layer_types", count) or at.each("layers_block_type", count)
    if kinds is None:
        raise at.refuse("layer_types", None, "is missing")
    heads = at.number("mamba_n_heads")
    size = at.get("mamba_d_head", default="auto")
    inner = at.number("mamba_expand", default=2) * hidden
    mamba = state.Mamba(
        heads,
        inner // heads if size == "auto" else at.number("mamba_d_head"),
        at.number("mamba_d_state"),
        at.number("mamba_n_groups", default=1),
        at.number("mamba_d_conv", default=4),
        at.flag("mamba_proj_bias"),
        at.flag("mamba_conv_bias", default=True),
    )
    some = at.number("num_local_experts", default=0, least=0)
    mlp: Mlp | Experts | None = plain.granite(at) if some else plain.granite_shared(at)
    rotary = at.get("position_embedding_type", default="rope") == "rope"
    full = attention.grouped(at, Style(o_bias=None), rotary=rotary)
    recurrent = state.mamba2(at, mamba, "mamba")
    return [Layer(recurrent if kind == "mamba" else full, mlp, 2 * hidden) for kind in kinds]


def jamba(at: Fields) -> list[Layer]:
    """Jamba: attention and experts at their own periods, Mamba and MLPs elsewhere."""
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")

    def at_period(what: str, layer: int) -> bool:
        return layer % at.number(f"{what}_period") == at.number(f"{what}_offset", least=0)

    width = at.number("intermediate_size")
    dense = feedforward.mlp(at, width, path="feed_forward")
    some = at.number("num_experts", default=1) > 1
    experts = feedforward.experts(at, width=width, path="feed_forward", router="router") if some else None
    full, recurrent = attention.grouped(at, Style(), rotary=False), state.mamba1(at)
    return [
        Layer(
            full if at_period("attn_layer", layer) else recurrent,
            experts if experts and at_period("expert_layer", layer) else dense,
            2 * hidden,
        )
        for layer in range(count)
    ]


def kimi(at: Fields) -> list[Layer]:
    """Kimi Linear and K3: Kimi delta attention, and latent attention in the layers of ``full_attn_layers``.

    K3's experts work in a narrower space, ``routed_expert_hidden_size`` wide. Its attention over earlier
    blocks' outputs (``attn_res_block_size``) has a matrix of no size to speak of and is left out.
    """
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    full = set(at.get("linear_attn_config", default={}).get("full_attn_layers", ()))  # counted from 1
    narrow = at.number("routed_expert_hidden_size", default=0, least=0)
    if at.get("attn_res_block_size"):
        at.warn("attn_res_block_size: attention over earlier blocks' outputs is not modelled")
    experts = feedforward.experts(
        at,
        into=narrow or hidden,
        shared=plain.shared_by_count(at),
        around=feedforward.around(at, narrow, "mlp"),
        vectors=at.number("num_experts") + (narrow if at.flag("latent_moe_use_norm") else 0),
    )
    dense = feedforward.mlp(at, at.number("intermediate_size"))
    latent, delta = attention.latent(at, gate=at.flag("mla_use_output_gate")), state.kimi_delta_attention(at)
    sparse = plain.with_experts(at, count)
    return [
        Layer(latent if layer + 1 in full else delta, experts if some else dense, 2 * hidden)
        for layer, some in enumerate(sparse)
    ]

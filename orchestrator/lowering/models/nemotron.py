"""Nemotron-H (Mamba, attention, MLP and experts, one a layer) and Nemotron-NAS (every layer of its own size)."""

from __future__ import annotations

from . import attention, feedforward, state
from .attention import Style
from .fields import Fields
from .parts import Experts, Layer

KINDS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}


def hybrid(at: Fields) -> list[Layer]:
    """Each layer is one mixer behind one norm, by ``hybrid_override_pattern`` or ``layers_block_type``."""
    hidden = at.number("hidden_size")
    pattern = at.get("layers_block_type", "hybrid_override_pattern")
    if not isinstance(pattern, str | list) or not all(isinstance(kind, str) for kind in pattern):
        raise at.refuse("hybrid_override_pattern", pattern, "must be a letter or a name for each layer")
    count = at.number("num_hidden_layers", default=len(pattern))
    kinds = [KINDS.get(kind, kind) for kind in pattern[:count]]
    found = []
    for kind in kinds:
        if kind == "mamba":
            found.append(Layer(state.mamba2(at, _mamba(at)), None, hidden))
        elif kind == "attention":
            found.append(Layer(attention.grouped(at, Style(o_bias=None), path="mixer", rotary=False), None, hidden))
        elif kind == "mlp":
            dense = feedforward.mlp(at, at.number("intermediate_size"), path="mixer", gated=False)
            found.append(Layer(None, dense, hidden))
        elif kind == "moe":
            found.append(Layer(None, _experts(at), hidden))
        else:
            raise at.refuse("hybrid_override_pattern", kind, f"one of {', '.join(KINDS)}")
    return found


def _mamba(at: Fields) -> state.Mamba:
    return state.Mamba(
        at.number("mamba_num_heads"),
        at.number("mamba_head_dim"),
        at.number("ssm_state_size"),
        at.number("n_groups"),
        at.number("conv_kernel", default=4),
        at.flag("mamba_proj_bias", "use_bias"),
        at.flag("use_conv_bias", default=True),
    )


def _experts(at: Fields) -> Experts:
    """Experts without a gate, in Nemotron 3 Super and Ultra behind a projection into a narrower space."""
    hidden, narrow = at.number("hidden_size"), at.number("moe_latent_size", default=0, least=0)
    width = at.number("moe_shared_expert_intermediate_size") * at.number("n_shared_experts", default=1, least=0)
    shared = feedforward.mlp(at, width, path="mixer.shared_experts", gated=False) if width else None
    return feedforward.experts(
        at,
        path="mixer",
        into=narrow or hidden,
        gated=False,
        shared=shared,
        around=feedforward.around(at, narrow, "mixer"),
        vectors=at.number("n_routed_experts"),
    )


def by_search(at: Fields) -> list[Layer]:
    """Nemotron-NAS (Puzzle): ``block_configs`` says what each layer has, or has not."""
    hidden, count = at.number("hidden_size"), at.number("num_hidden_layers")
    found = []
    for layer, block in enumerate(at.each("block_configs", count) or ()):
        part, ffn = block["attention"], block["ffn"]
        for what, of in (("attention", part), ("ffn", ffn)):
            if of.get("replace_with_linear"):
                raise at.refuse(f"block_configs.{layer}.{what}.replace_with_linear", True, "is not modelled")
        mixer = None
        if not part.get("no_op"):
            kv_heads = at.number("num_attention_heads") // part["n_heads_in_group"]
            mixer = attention.grouped(at, Style(), kv_heads=kv_heads, window=part.get("window_length") or 0)
        dense = None if ffn.get("no_op") else feedforward.mlp(at, _width(ffn["ffn_mult"], hidden))
        found.append(Layer(mixer, dense, hidden * ((mixer is not None) + (dense is not None))))
    return found


def _width(multiplier: float, hidden: int) -> int:
    """Of an MLP ``multiplier`` times 2/3 of four hidden sizes wide, rounded up to 256 (DeciLM's rule)."""
    return -(-int(2 * multiplier * hidden / 3) // 256) * 256

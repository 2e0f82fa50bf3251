"""Layers with a state instead of K and V: Mamba 1 and 2, gated delta nets."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import DTYPES, Fields
from .parts import Linear, State


@dataclass(frozen=True, slots=True)
class Mamba:
    """Sizes of a Mamba-2 mixer (Dao and Gu, 2024); ``inner`` = heads x size."""

    heads: int
    size: int
    state: int
    groups: int
    kernel: int
    bias: bool = False
    conv_bias: bool = True


def state_dtype(at: Fields) -> str:
    """The type of the state: vLLM takes a checkpoint's own, else the model's."""
    value = at.get("mamba_ssm_cache_dtype", "mamba_ssm_dtype")
    if value is None or value == "auto":
        return ""
    if not isinstance(value, str) or value not in DTYPES:
        raise at.refuse("mamba_ssm_cache_dtype", value, f"one of {', '.join(DTYPES)}")
    return DTYPES[value]


def mamba2(at: Fields, of: Mamba, path: str = "mixer") -> State:
    hidden, inner = at.number("hidden_size"), of.heads * of.size
    conv = inner + 2 * of.groups * of.state
    linears = (
        Linear(f"{path}.in_proj", inner + conv + of.heads, hidden, bias=of.bias),
        Linear(f"{path}.out_proj", hidden, inner, "in", bias=of.bias),
    )
    vectors = conv * (of.kernel + of.conv_bias) + 3 * of.heads + inner  # convolution, A, D, dt, norm
    return State(linears, of.heads, of.size, of.state, conv, of.kernel, vectors, state_dtype(at), groups=of.groups)


def mamba1(at: Fields, path: str = "mamba") -> State:
    """Mamba (Gu and Dao, 2023) as in Jamba: an input-dependent step, B and C, with norms of these three."""
    hidden = at.number("hidden_size")
    inner = at.number("mamba_expand", default=2) * hidden
    depth, kernel = at.number("mamba_d_state", default=16), at.number("mamba_d_conv", default=4)
    rank = at.get("mamba_dt_rank", default="auto")
    rank = -(-hidden // 16) if rank == "auto" else int(rank)
    bias = at.flag("mamba_proj_bias")
    linears = (
        Linear(f"{path}.in_proj", 2 * inner, hidden, bias=bias),
        Linear(f"{path}.x_proj", rank + 2 * depth, inner, "in"),
        Linear(f"{path}.dt_proj", inner, rank, bias=True),
        Linear(f"{path}.out_proj", hidden, inner, "in", bias=bias),
    )
    conv_bias = at.flag("mamba_conv_bias", default=True)
    vectors = inner * (kernel + conv_bias) + inner * (depth + 1) + rank + 2 * depth
    return State(linears, inner, 1, depth, inner, kernel, vectors, state_dtype(at), "mamba1")


def gated_delta_net(at: Fields, fused: bool, path: str = "linear_attn") -> State:
    """Gated delta net (Yang et al., 2024), as in Qwen3-Next (``fused`` projections) and Qwen3.5."""
    hidden = at.number("hidden_size")
    keys, values = at.number("linear_num_key_heads"), at.number("linear_num_value_heads")
    key, value = at.number("linear_key_head_dim"), at.number("linear_value_head_dim")
    kernel = at.number("linear_conv_kernel_dim", default=4)
    conv, wide = 2 * keys * key + values * value, values * value
    first = (
        [Linear(f"{path}.in_proj_qkvz", conv + wide, hidden), Linear(f"{path}.in_proj_ba", 2 * values, hidden)]
        if fused
        else [
            Linear(f"{path}.in_proj_qkv", conv, hidden),
            Linear(f"{path}.in_proj_z", wide, hidden),
            Linear(f"{path}.in_proj_b", values, hidden),
            Linear(f"{path}.in_proj_a", values, hidden),
        ]
    )
    linears = (*first, Linear(f"{path}.out_proj", hidden, wide, "in"))
    vectors = conv * kernel + 2 * values + value
    return State(linears, values, value, key, conv, kernel, vectors, state_dtype(at), "gated_delta_net")


def kimi_delta_attention(at: Fields, path: str = "self_attn") -> State:
    """Kimi delta attention (Kimi Linear, 2025): a gate a channel, low-rank gates of decay and output. vLLM 0.19 keeps
    its state in fp32 (`mamba_utils.py`, kda_state_dtype)."""
    hidden, of = at.number("hidden_size"), at.get("linear_attn_config")
    heads, size, kernel = of["num_heads"], of["head_dim"], of.get("short_conv_kernel_size", 4)
    wide = heads * size
    linears = (
        *(Linear(f"{path}.{name}_proj", wide, hidden) for name in "qkv"),
        Linear(f"{path}.f_a_proj", size, hidden, ""),
        Linear(f"{path}.f_b_proj", wide, size),
        Linear(f"{path}.b_proj", heads, hidden),
        *(
            [Linear(f"{path}.g_proj", wide, hidden)]
            if of.get("use_full_rank_gate")
            else [Linear(f"{path}.g_a_proj", size, hidden, ""), Linear(f"{path}.g_b_proj", wide, size)]
        ),
        Linear(f"{path}.o_proj", hidden, wide, "in"),
    )
    vectors = 3 * wide * kernel + heads + wide + size
    return State(linears, heads, size, size, 3 * wide, kernel, vectors, "fp32", "kimi_delta_attention")

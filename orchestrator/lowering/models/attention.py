"""Attention of a layer by a config's fields: heads, windows, norms and biases, latent attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .fields import Fields
from .parts import Attention, Index, Latent, Linear

#: of attention layers, by ``layer_types``
KINDS = frozenset({"full_attention", "sliding_attention"})


@dataclass(frozen=True, slots=True)
class Style:
    """What a family's fields do not say of its attention.

    ``qk_norm``: norms of Q and K over a ``head``, over all heads (``all``), or without weights (``""``);
    ``qkv_bias`` and ``o_bias`` where the config has no ``attention_bias``.
    """

    qk_norm: str = ""
    qkv_bias: bool = False
    o_bias: bool | None = False
    gate: bool = False
    sinks: bool = False


def head_size(at: Fields) -> int:
    heads = at.number("num_attention_heads")
    return at.number("head_dim", "attention_head_dim", default=at.number("hidden_size") // heads)


def grouped(
    at: Fields,
    style: Style,
    *,
    path: str = "self_attn",
    heads: int | None = None,
    kv_heads: int | None = None,
    size: int | None = None,
    v_size: int | None = None,
    value_is_key: bool = False,
    window: int = 0,
    chunk: int = 0,
    index: Index | None = None,
    keeps: bool = True,
    rotary: bool = True,
) -> Attention:
    """Attention with grouped queries; what is not given is as the fields say."""
    hidden = at.number("hidden_size")
    heads = heads or at.number("num_attention_heads")
    kv_heads = kv_heads or at.number("num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise at.refuse("num_key_value_heads", kv_heads, f"must divide num_attention_heads ({heads})")
    size = size or head_size(at)
    v_size = v_size or size
    bias = at.flag("attention_bias", "use_qkv_bias", "qkv_bias", default=style.qkv_bias)
    o_bias = at.flag("attention_out_bias", default=bias if style.o_bias is None else style.o_bias)
    query = heads * size * (2 if style.gate else 1)
    linears = [
        Linear(f"{path}.q_proj", query, hidden, bias=bias),
        Linear(f"{path}.k_proj", kv_heads * size, hidden, bias=bias),
    ]
    if not value_is_key:
        linears.append(Linear(f"{path}.v_proj", kv_heads * v_size, hidden, bias=bias))
    linears.append(Linear(f"{path}.o_proj", hidden, heads * v_size, "in", bias=o_bias))
    norm = {"head": 2 * size, "all": (heads + kv_heads) * size}.get(style.qk_norm, 0)
    return Attention(
        tuple(linears),
        heads,
        kv_heads,
        size,
        v_size,
        window=window,
        chunk=chunk,
        top_k=index.top_k if index else 0,
        index=index,
        keeps=keeps,
        qk_norm=norm,
        gate=style.gate,
        sinks=style.sinks,
        rotary=rotary,
    )


def kinds(at: Fields, layers: int) -> Sequence[Any] | None:
    """Which layers have a window, by ``layer_types``. Raises InputError for kinds that are no such attention."""
    found = at.each("layer_types", layers)
    for layer, kind in enumerate(found or ()):
        if not isinstance(kind, str) or kind not in KINDS:
            raise at.refuse(f"layer_types.{layer}", kind, f"must be one of {', '.join(sorted(KINDS))}")
    return found


def windows(at: Fields, layers: int) -> list[int]:
    """The window of each layer, 0 = all: by ``layer_types``, else one for all if ``sliding_window`` says so."""
    window = at.number("sliding_window", "sliding_window_size", default=0, least=0)
    found = kinds(at, layers)
    if found is not None:
        return [window if kind == "sliding_attention" else 0 for kind in found]
    return [window] * layers


def latent(at: Fields, *, path: str = "self_attn", index: Index | None = None, gate: bool = False) -> Latent:
    """Multi-head latent attention, with names as in DeepSeek-V2 and V3."""
    hidden, heads = at.number("hidden_size"), at.number("num_attention_heads")
    q_rank, rank = at.number("q_lora_rank", default=0), at.number("kv_lora_rank")
    nope, rope, v_size = at.number("qk_nope_head_dim"), at.number("qk_rope_head_dim", least=0), at.number("v_head_dim")
    bias = at.flag("attention_bias")
    query = heads * (nope + rope)
    first = (
        [Linear(f"{path}.q_a_proj", q_rank, hidden, "", bias), Linear(f"{path}.q_b_proj", query, q_rank)]
        if q_rank
        else [Linear(f"{path}.q_proj", query, hidden)]
    )
    linears = [
        *first,
        Linear(f"{path}.kv_a_proj_with_mqa", rank + rope, hidden, "", bias),
        Linear(f"{path}.kv_b_proj", heads * (nope + v_size), rank),
        *([Linear(f"{path}.g_proj", heads * v_size, hidden)] if gate else []),
        Linear(f"{path}.o_proj", hidden, heads * v_size, "in", bias),
    ]
    return Latent(tuple(linears), heads, q_rank, rank, nope, rope, v_size, index)


def indexer(at: Fields, layer: int, path: str = "self_attn.indexer") -> Index | None:
    """The indexer of DeepSeek sparse attention: V3.2, GLM-5. Every layer has one, or those of ``indexer_types``."""
    top_k = at.number("index_topk", default=0, least=0)
    if not top_k:
        return None
    heads, size = at.number("index_n_heads"), at.number("index_head_dim")
    kinds = at.get("indexer_types")
    if isinstance(kinds, list) and layer < len(kinds) and kinds[layer] == "shared":
        return Index(heads, size, top_k, own=False)
    hidden = at.number("hidden_size")
    return Index(
        heads,
        size,
        top_k,
        (
            Linear(f"{path}.wq_b", heads * size, at.number("q_lora_rank"), ""),
            Linear(f"{path}.wk", size, hidden, ""),
            Linear(f"{path}.weights_proj", heads, hidden, "", quantisable=False),
        ),
    )

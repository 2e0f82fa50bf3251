"""DeepSeek-V4: compressed attention with windows, experts in fp4, four residual streams (hyper-connections)."""

from __future__ import annotations

from collections.abc import Sequence

from . import feedforward, plain
from .fields import Fields
from .formats import Format
from .parts import Compressed, Index, Layer, Linear

FULL = Format("fp32", 32)


def layers(at: Fields) -> list[Layer]:
    """``compress_ratios`` says of each layer how many tokens become one; with 4 an index chooses among them."""
    count, hidden = at.number("num_hidden_layers"), at.number("hidden_size")
    ratios = at.each("compress_ratios", count)
    if ratios is None:
        raise at.refuse("compress_ratios", None, "is missing")
    shared = plain.shared_by_count(at, "ffn.shared_experts")
    experts = feedforward.experts(
        at, path="ffn", names=("w1", "w3", "w2"), shared=shared, vectors=at.number("n_routed_experts")
    )
    streams = at.number("hc_mult", default=1)
    mixed = (2 + streams) * streams
    extra = tuple(
        Linear(f"hc_{part}_fn", mixed, streams * hidden, "", quantisable=False, format=FULL) for part in ("attn", "ffn")
    )
    return [Layer(_attention(at, ratio), experts, 2 * hidden, extra=extra if streams > 1 else ()) for ratio in ratios]


def _attention(at: Fields, ratio: int) -> Compressed:
    hidden, heads, size = at.number("hidden_size"), at.number("num_attention_heads"), at.number("head_dim")
    q_rank, o_rank, groups = at.number("q_lora_rank"), at.number("o_lora_rank"), at.number("o_groups")
    linears = [
        Linear("attn.wq_a", q_rank, hidden, ""),
        Linear("attn.wkv", size, hidden, ""),
        Linear("attn.wq_b", heads * size, q_rank),
        *_compressor("attn.compressor", ratio, size, hidden),
        Linear("attn.wo_a", groups * o_rank, heads * size // groups),
        Linear("attn.wo_b", hidden, groups * o_rank, "in"),
    ]
    vectors = q_rank + 2 * size + heads + _wide(ratio, size) * ratio
    chosen = None
    if ratio == 4:
        own, index_heads = at.number("index_head_dim"), at.number("index_n_heads")
        vectors += own + _wide(ratio, own) * ratio
        chosen = Index(
            index_heads,
            own,
            at.number("index_topk"),
            (
                Linear("attn.indexer.wq_b", index_heads * own, q_rank, ""),
                *_compressor("attn.indexer.compressor", ratio, own, hidden),
                Linear("attn.indexer.weights_proj", index_heads, hidden, "", quantisable=False),
            ),
        )
    return Compressed(
        tuple(linears),
        heads,
        size,
        at.number("qk_rope_head_dim"),
        q_rank,
        groups,
        at.number("sliding_window"),
        ratio,
        vectors,
        chosen,
    )


def _wide(ratio: int, size: int) -> int:
    """Windows of 4 tokens overlap: each vector is made of two."""
    return (2 if ratio == 4 else 1) * size if ratio else 0


def _compressor(path: str, ratio: int, size: int, hidden: int) -> Sequence[Linear]:
    if not ratio:
        return ()
    wide = _wide(ratio, size)
    return [Linear(f"{path}.{name}", wide, hidden, "", quantisable=False) for name in ("wkv", "wgate")]

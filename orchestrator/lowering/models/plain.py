"""Families whose fields say it all: decoders of attention and MLP or experts, one table row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from . import attention, feedforward
from .attention import Style
from .fields import Fields
from .parts import Experts, Layer, Mlp

#: kernels in which vLLM chooses a token's experts, where that is not one fused top-k kernel: its phimoe routes
#: by 21 tensor operations (`sparsemixer`, vLLM 0.12), out of the compiler's sight
PHIMOE_ROUTING = 21


PLAIN = Style()


@dataclass(frozen=True, slots=True)
class Family:
    """What the fields of a ``model_type`` leave unsaid.

    Attributes:
        style: norms and biases of attention.
        norms: norms a layer, each of the hidden size; doubled where they have a bias (``norm_bias``).
        gated: the MLP has a gate.
        mlp_bias: of the MLP, where no field says it.
        tied: embedding and head are one matrix where ``tie_word_embeddings`` is absent.
        window: whether ``sliding_window`` counts where no ``use_sliding_window`` says so.
        windows: windows of the layers where there are no ``layer_types``.
        experts: makes a layer's experts; None for dense families.
        head_bias: bias of the output head.
        learned: rows of a table of learned positions beyond the longest sequence; None = positions are rotated.
        embedding_norm: the embedding passes a norm.
        defaults: fields that files of the family leave out.
    """

    style: Style = PLAIN
    norms: int = 2
    norm_bias: bool = False
    gated: bool = True
    mlp_bias: bool = False
    tied: bool = False
    window: bool = True
    windows: Callable[[Fields, int], list[int]] = attention.windows
    experts: Callable[[Fields], Experts] | None = None
    head_bias: bool = False
    learned: int | None = None
    embedding_norm: bool = False
    defaults: dict[str, Any] = field(default_factory=dict)


def every(step: str, default: int) -> Callable[[Fields, int], list[int]]:
    """Windows in all layers but every n-th, n by the field ``step``; or by ``layer_types``."""

    def of(at: Fields, layers: int) -> list[int]:
        if at.get("layer_types"):
            return attention.windows(at, layers)
        window = at.number("sliding_window", default=0, least=0)
        n = at.number(step, default=default)
        return [0 if (layer + 1) % n == 0 else window for layer in range(layers)]

    return of


def after_max_window_layers(at: Fields, layers: int) -> list[int]:
    """Qwen2's windows: in the layers from ``max_window_layers`` on, if ``use_sliding_window``."""
    if at.get("layer_types"):
        return attention.windows(at, layers)
    window, first = at.number("sliding_window", default=0, least=0), at.number("max_window_layers", default=0, least=0)
    return [window if layer >= first else 0 for layer in range(layers)]


def shared_by_count(at: Fields, path: str = "mlp.shared_experts") -> Mlp | None:
    """DeepSeek's shared experts: ``n_shared_experts`` of an expert's width, as one MLP."""
    width = at.number("moe_intermediate_size") * at.number("n_shared_experts", "num_shared_experts", default=0, least=0)
    return feedforward.mlp(at, width, path=path) if width else None


def shared_by_width(
    at: Fields, field: str = "shared_expert_intermediate_size", path: str = "mlp.shared_expert"
) -> Mlp | None:
    width = at.number(field, default=0, least=0)
    return feedforward.mlp(at, width, path=path) if width else None


def _mixtral(at: Fields) -> Experts:
    return feedforward.experts(at, path="block_sparse_moe", names=("w1", "w3", "w2"))


def _phimoe(at: Fields) -> Experts:
    return feedforward.experts(at, path="block_sparse_moe", names=("w1", "w3", "w2"), kernels=PHIMOE_ROUTING)


def _qwen(at: Fields) -> Experts:
    return feedforward.experts(at, shared=shared_by_width(at), shared_gate=True)


def deepseek(at: Fields) -> Experts:
    """Experts as in DeepSeek-V2 and V3, with a bias a routed expert where ``topk_method`` needs one."""
    corrected = at.get("topk_method") == "noaux_tc" or at.get("scoring_func") == "sigmoid"
    count = at.number("n_routed_experts", "num_experts") if corrected else 0
    return feedforward.experts(at, shared=shared_by_count(at), vectors=count)


def granite_shared(at: Fields) -> Mlp | None:
    """The MLP that every token of a Granite takes beside its experts, or in their place."""
    return shared_by_width(at, "shared_intermediate_size", "shared_mlp")


def granite(at: Fields) -> Experts:
    """Granite's experts."""
    return feedforward.experts(
        at,
        width=at.number("intermediate_size"),
        path="block_sparse_moe",
        router="router.layer",
        shared=granite_shared(at),
    )


def _minimax(at: Fields) -> Experts:
    return feedforward.experts(
        at,
        width=at.number("intermediate_size"),
        path="block_sparse_moe",
        names=("w1", "w3", "w2"),
        shared=shared_by_width(at, "shared_intermediate_size"),
        vectors=at.number("num_local_experts") if at.flag("use_routing_bias") else 0,
    )


QKV_BIAS = Style(qkv_bias=True)
FAMILIES: dict[str, Family] = {
    "llama": Family(Style(o_bias=None)),
    "mistral": Family(),
    "ministral": Family(),
    "mistral3": Family(),
    "qwen2": Family(QKV_BIAS, window=False, windows=after_max_window_layers),
    "qwen2_vl": Family(QKV_BIAS, window=False, windows=after_max_window_layers),
    "qwen2_5_vl": Family(QKV_BIAS, window=False, windows=after_max_window_layers),
    "mimo": Family(QKV_BIAS, window=False, windows=after_max_window_layers),
    "qwen3": Family(Style("head", o_bias=None), window=False, windows=after_max_window_layers),
    "qwen3_vl": Family(Style("head", o_bias=None), window=False),
    "phi3": Family(),
    "phi": Family(
        Style(qkv_bias=True, o_bias=True), norms=1, norm_bias=True, gated=False, mlp_bias=True, head_bias=True
    ),
    "starcoder2": Family(Style(qkv_bias=True, o_bias=True), norm_bias=True, gated=False, mlp_bias=True, tied=True),
    "gemma": Family(Style(o_bias=None), tied=True),
    "gemma2": Family(Style(o_bias=None), norms=4, tied=True, windows=every("sliding_window_pattern", 2)),
    "gemma3": Family(
        Style("head", o_bias=None),
        norms=4,
        tied=True,
        windows=every("sliding_window_pattern", 6),
        defaults={
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "vocab_size": 262208,
            "max_position_embeddings": 131072,
            "sliding_window": 4096,
        },
    ),
    "glm": Family(),
    "glm4": Family(norms=4),
    "olmo": Family(norms=0),
    "olmo2": Family(Style("all")),
    "olmo3": Family(Style("all"), windows=every("sliding_window_pattern", 4)),
    "granite": Family(Style(o_bias=None), tied=True),
    "cohere": Family(norms=1, tied=True),
    "cohere2": Family(norms=1, tied=True, windows=every("sliding_window_pattern", 4)),
    "nemotron": Family(norm_bias=True, gated=False),
    "seed_oss": Family(QKV_BIAS),
    "smollm3": Family(tied=True),
    "exaone4": Family(Style("head"), windows=every("sliding_window_pattern", 4)),
    "hunyuan_v1_dense": Family(Style("head"), tied=True),
    "ernie4_5": Family(tied=True),
    "mixtral": Family(experts=_mixtral),
    "phimoe": Family(Style(o_bias=None), norm_bias=True, experts=_phimoe, head_bias=False),
    "qwen2_moe": Family(QKV_BIAS, window=False, windows=after_max_window_layers, experts=_qwen),
    "qwen3_moe": Family(Style("head", o_bias=None), window=False, experts=_qwen),
    "qwen3_vl_moe": Family(Style("head", o_bias=None), window=False, experts=_qwen),
    "olmoe": Family(Style("all", o_bias=None), experts=_qwen),
    "granitemoe": Family(tied=True, experts=granite),
    "granitemoeshared": Family(tied=True, experts=granite),
    "glm4_moe": Family(experts=deepseek),
    "dots1": Family(Style("head"), experts=deepseek),
    "minimax_m2": Family(Style("all"), experts=_minimax),
    "deepseek": Family(experts=deepseek),
    "apertus": Family(Style("head", o_bias=None), gated=False),
    "arcee": Family(Style(o_bias=None), gated=False),
}
#: names of the same thing: decoders inside models with other encoders, and renamed families
SAME = {
    "mistral": ("ministral3", "pixtral", "yi", "aquila", "internlm3", "baichuan"),
    "gemma3": ("gemma3_text",),
    "qwen3_vl": ("qwen3_vl_text",),
    "qwen3_vl_moe": ("qwen3_vl_moe_text",),
    "qwen2_vl": ("qwen2_vl_text",),
    "qwen2_5_vl": ("qwen2_5_vl_text",),
    "glm4": ("glm4v", "glm4v_text"),
    "glm4_moe": ("glm4v_moe", "glm4v_moe_text"),
    "phi3": ("phi4", "phi4mm"),
    "minimax_m2": ("minimax-m2",),
}
FAMILIES.update({other: FAMILIES[name] for name, others in SAME.items() for other in others})


def layers(at: Fields, family: Family) -> list[Layer]:
    """The layers of a plain decoder."""
    count = at.number("num_hidden_layers")
    style = family.style
    if not style.qk_norm and at.flag("use_qk_norm"):
        per_head = {"per_layer": "all"}.get(at.get("qk_norm_type"), "head")
        wide = "all" if at.get("model_type") in ("cohere", "cohere2") else per_head
        style = replace(style, qk_norm=wide)
    attention.kinds(at, count)
    use = at.flag("use_sliding_window", default=family.window)
    spans = family.windows(at, count) if use else [0] * count
    norms = family.norms * at.number("hidden_size") * (2 if family.norm_bias else 1)
    sparse = with_experts(at, count) if family.experts else [False] * count
    some, plain = (family.experts(at) if family.experts and any(sparse) else None), None
    if not all(sparse):
        bias = at.flag("mlp_bias", "use_mlp_bias", default=family.mlp_bias)
        plain = feedforward.mlp(at, at.number("intermediate_size", "ffn_dim"), gated=family.gated, bias=bias)
    rotary = family.learned is None
    return [
        Layer(attention.grouped(at, style, window=span, rotary=rotary), some if routed else plain, norms)
        for span, routed in zip(spans, sparse, strict=True)
    ]


def with_experts(at: Fields, layers: int) -> list[bool]:
    """Which layers have experts: by every field that families have for it."""
    kinds = at.each("mlp_layer_types", layers)
    if kinds is not None:
        return [kind == "sparse" for kind in kinds]
    frequency = at.get("moe_layer_freq")
    if isinstance(frequency, list):
        return [bool(one) for one in frequency[:layers]]
    dense = at.get("mlp_only_layers") or []
    if not isinstance(dense, list) or not all(type(number) is int for number in dense):
        raise at.refuse("mlp_only_layers", dense, "must be a list of layers, by number")
    step = at.number("decoder_sparse_step", default=1)
    first = at.number("first_k_dense_replace", default=0, least=0)
    every_nth = frequency if isinstance(frequency, int) and frequency > 0 else 1
    return [
        layer not in dense and (layer + 1) % step == 0 and layer >= first and layer % every_nth == 0
        for layer in range(layers)
    ]

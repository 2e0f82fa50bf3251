"""Families whose files call their fields otherwise: GPT-2, OPT, BLOOM, Falcon, MPT, GPT-NeoX, ChatGLM, Qwen, InternLM,
ERNIE 4.5 with experts.

Each says what its fields mean by the names of all others (``Fields.instead``). Sources: ``config.json`` files of the
checkpoints, and vllm/model_executor/models of vLLM 0.19.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import feedforward, plain
from .attention import Style
from .fields import Fields
from .parts import Experts
from .plain import Family

BIASED = Style(qkv_bias=True, o_bias=True)


def opt(at: Fields) -> Family:
    """OPT: learned positions, two rows more than the longest sequence, and biases everywhere."""
    hidden, into = at.number("hidden_size"), at.number("word_embed_proj_dim", default=at.number("hidden_size"))
    if into != hidden:
        raise at.refuse("word_embed_proj_dim", into, f"must be hidden_size ({hidden}): projections are not modelled")
    biased = at.flag("enable_bias", default=True)
    style = Style(qkv_bias=biased, o_bias=biased)
    return Family(style, norm_bias=True, gated=False, mlp_bias=biased, tied=True, learned=2)


def gpt2(at: Fields, multi_query: bool = False) -> Family:
    """GPT-2, and StarCoder (``gpt_bigcode``), whose queries share one head of keys and values."""
    hidden = at.number("n_embd", "hidden_size")
    at.instead |= {
        "hidden_size": hidden,
        "num_hidden_layers": at.number("n_layer", "num_hidden_layers"),
        "num_attention_heads": at.number("n_head", "num_attention_heads"),
        "intermediate_size": at.number("n_inner", default=4 * hidden),
        **({"num_key_value_heads": 1} if multi_query and at.flag("multi_query", default=True) else {}),
    }
    return Family(BIASED, norm_bias=True, gated=False, mlp_bias=True, tied=True, learned=0)


def gpt_neox(at: Fields) -> Family:
    """GPT-NeoX: Pythia and others."""
    return Family(Style(qkv_bias=True, o_bias=None), norm_bias=True, gated=False, mlp_bias=True)


def bloom(at: Fields) -> Family:
    """BLOOM: positions by ALiBi, which costs nothing here, and a norm after the embedding."""
    hidden = at.number("hidden_size", "n_embed")
    at.instead |= {
        "hidden_size": hidden,
        "num_hidden_layers": at.number("n_layer", "num_hidden_layers"),
        "num_attention_heads": at.number("n_head", "num_attention_heads"),
        "intermediate_size": at.number("n_inner", default=4 * hidden),
    }
    return Family(BIASED, norm_bias=True, gated=False, mlp_bias=True, tied=True, embedding_norm=True)


def falcon(at: Fields) -> Family:
    """Falcon: attention and MLP side by side behind one norm, in its newer form behind one each."""
    hidden = at.number("hidden_size", "n_embed")
    heads = at.number("num_attention_heads", "n_head")
    newer, biased = at.flag("new_decoder_architecture"), at.flag("bias")
    shared = 1 if at.flag("multi_query", default=True) else heads
    at.instead |= {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": at.number("num_hidden_layers", "n_layer"),
        "num_key_value_heads": at.number("num_kv_heads", "n_head_kv", default=heads) if newer else shared,
        "intermediate_size": at.number("ffn_hidden_size", default=4 * hidden),
        "attention_bias": biased,
    }
    at.defaults |= {"max_position_embeddings": 2048}  # of its configuration class
    norms = at.number("num_ln_in_parallel_attn", default=2) if newer else 2 - at.flag("parallel_attn", default=True)
    return Family(Style(o_bias=None), norms=norms, norm_bias=True, gated=False, mlp_bias=biased, tied=True)


def mpt(at: Fields) -> Family:
    """MPT: positions by ALiBi, no biases."""
    hidden, heads = at.number("d_model"), at.number("n_heads")
    inside = at.get("attn_config", default={})
    if not at.flag("no_bias", default=True) or inside.get("qk_ln"):
        raise at.refuse("no_bias", False, "must be true, and attn_config.qk_ln false: others are not modelled")
    kind = inside.get("attn_type", "multihead_attention")
    kv_heads = {"multihead_attention": heads, "multiquery_attention": 1}.get(kind, inside.get("kv_n_heads"))
    at.instead |= {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": at.number("n_layers"),
        "intermediate_size": at.number("expansion_ratio", default=4) * hidden,
    }
    return Family(gated=False, tied=True)


def chatglm(at: Fields) -> Family:
    """ChatGLM 2 and 3, GLM-4-9b-chat in its own code."""
    heads = at.number("num_attention_heads")
    shared = at.flag("multi_query_attention")
    at.instead |= {
        "num_hidden_layers": at.number("num_layers", "num_hidden_layers"),
        "num_key_value_heads": at.number("multi_query_group_num") if shared else heads,
        "intermediate_size": at.number("ffn_hidden_size", "intermediate_size"),
        "vocab_size": at.number("padded_vocab_size", "vocab_size"),
        "head_dim": at.number("kv_channels"),
        "attention_bias": at.flag("add_qkv_bias") or at.flag("add_bias_linear"),
        "attention_out_bias": at.flag("add_bias_linear"),
    }
    return Family(mlp_bias=at.flag("add_bias_linear"))


def qwen(at: Fields) -> Family:
    """Qwen (the first): ``intermediate_size`` is that of gate and up projection together."""
    at.instead |= {"intermediate_size": at.number("intermediate_size") // 2}
    return Family(Style(qkv_bias=True))


def internlm(at: Fields) -> Family:
    """InternLM 1 and 2: ``bias`` is that of all of attention."""
    biased = at.flag("bias")
    return Family(Style(qkv_bias=biased, o_bias=biased))


def stablelm(at: Fields) -> Family:
    """StableLM: norms with a bias."""
    if at.flag("use_parallel_residual") or at.flag("qk_layernorm"):
        raise at.refuse("use_parallel_residual", True, "is not modelled, nor is qk_layernorm")
    return Family(norm_bias=True)


def ernie(at: Fields) -> Family:
    """ERNIE 4.5 with experts, each with a correction of its choice."""
    count = at.number("num_hidden_layers")
    last = at.number("moe_layer_end_index", default=count - 1, least=0)
    width = at.number("moe_intermediate_size")  # of models with images: a list, which is refused here
    if 0 < last < count - 1:
        raise at.refuse("moe_layer_end_index", last, f"must be the last layer ({count - 1})")
    at.instead |= {
        "num_experts": at.number("moe_num_experts"),
        "num_experts_per_tok": at.number("moe_k"),
        "n_shared_experts": at.number("moe_num_shared_experts", default=0, least=0),
        "first_k_dense_replace": at.number("moe_layer_start_index", default=0, least=0),
        "decoder_sparse_step": at.number("moe_layer_interval", default=1),
        "attention_bias": at.flag("use_bias"),
    }

    def experts(at: Fields) -> Experts:
        return feedforward.experts(at, width=width, shared=plain.shared_by_count(at), vectors=at.number("num_experts"))

    return Family(Style(o_bias=None), tied=True, mlp_bias=at.flag("use_bias"), experts=experts)


FAMILIES: dict[str, Callable[[Fields], Family]] = {
    "opt": opt,
    "gpt2": gpt2,
    "gpt_bigcode": partial(gpt2, multi_query=True),
    "gpt_neox": gpt_neox,
    "bloom": bloom,
    "falcon": falcon,
    "mpt": mpt,
    "chatglm": chatglm,
    "qwen": qwen,
    "internlm": internlm,
    "internlm2": internlm,
    "stablelm": stablelm,
    "ernie4_5_moe": ernie,
}

"""The operations of a layer's mixer: attention, latent attention, a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from metronome.hwmodels.interface import Attribute

from .builder import Builder
from .contexts import STATE, UNFOLDED, compressed, seen
from .models.parts import Attention, Compressed, Index, Latent, Layer, Linear, State
from .quantity import ATTENTION, PROMPT_ATTENTION, Operands
from .work import PlannedOperation


def mixer(build: Builder, block: Layer) -> list[PlannedOperation]:
    """Norm, mixer, output projection and the sum over ranks; nothing where a layer has none."""
    of = block.mixer
    if of is None:
        return []
    if isinstance(of, Latent):
        made = _latent(build, of)
    elif isinstance(of, Compressed):
        made = _compressed(build, of)
    else:
        made = _state(build, of) if isinstance(of, State) else _grouped(build, of)
    return [build.light("norm", "layernorm", 2 * build.arch.hidden), *made, *build.summed("o_proj")]


def _grouped(build: Builder, of: Attention) -> list[PlannedOperation]:
    tp, heads = build.layout.tp, of.heads // build.layout.tp
    kv_heads = of.local_kv_heads(tp)
    query, key = heads * of.head_size, kv_heads * of.head_size
    projections = [linear for linear in of.linears[:-1] if of.keeps or linear.path.endswith("q_proj")]
    n = projections[0].out // tp + sum(kv_heads * (linear.out // of.kv_heads) for linear in projections[1:])
    shape: dict[str, Attribute] = {
        "heads": heads,
        "kv_heads": kv_heads,
        "head_size": of.head_size,
        "kv_dtype": build.kv_dtype,
        **({"sliding_window": of.window} if of.window else {}),
        **({"v_head_size": of.v_size} if of.v_size != of.head_size else {}),
    }
    rotated = query + (key if of.keeps else 0)
    return [
        build.gemm("qkv_proj", n, projections),
        *([build.light("norm", "qk_norm", 2 * rotated)] if of.qk_norm else []),
        *([build.light("elementwise", "rotary_emb", 2 * rotated)] if of.rotary else []),
        *(_index(build, of.index) if of.index else []),
        *_attend(build, of, shape),
        *([build.light("elementwise", "attention_gate", 3 * query)] if of.gate else []),
        build.gemm("o_proj", build.arch.hidden, of.linears[-1:]),
    ]


def _attend(build: Builder, of: Attention | Latent, shape: dict[str, Attribute]) -> list[PlannedOperation]:
    sees = of.sees or of.top_k
    operands: Operands = ATTENTION
    if 0 < sees < build.arch.max_positions:
        operands = seen(sees, chunk=bool(of.chunk))
        shape["sees"] = sees
        if of.chunk:
            shape["chunk"] = True
        if of.top_k:
            shape["top_k_tokens"] = of.top_k
    if not build.hardware.pim:
        return [build.on("accelerators", "attention", "attention", operands, shape)]
    return [  # the PIM devices also take the prompts' K and V
        build.on("pim", "attention", "attention", operands, shape),
        replace(build.on("accelerators", "attention", "attention", PROMPT_ATTENTION, shape), beside=True),
    ]


def _latent(build: Builder, of: Latent) -> list[PlannedOperation]:
    """Queries and the latent vector are projected down, queries up; keys and values of prompts are unfolded from
    the latent vectors, those of decodes absorbed (the same matrices and FLOPs), and all heads attend."""
    heads = of.heads // build.layout.tp
    by_name = {linear.path.rpartition(".")[2]: linear for linear in of.linears}
    key = of.nope + of.rope
    down: list[Linear] = [by_name["kv_a_proj_with_mqa"]]
    first = []
    if of.q_rank:
        down.insert(0, by_name["q_a_proj"])
    else:
        first = [build.gemm("q_proj", heads * key, [by_name["q_proj"]])]
    shape: dict[str, Attribute] = {
        "heads": heads,
        "kv_heads": 1,
        "head_size": of.rank + of.rope,
        "v_head_size": of.rank,
        "shared_kv": True,
        "kv_dtype": build.kv_dtype,
    }
    if not of.index:  # vLLM computes all tokens of sparse layers over the latent vectors
        shape |= {"prompt_head_size": key, "prompt_v_head_size": of.v_size}
    return [
        *first,
        build.gemm("kv_a_proj" if first else "qkv_a_proj", sum(linear.out for linear in down), down),
        build.light("norm", "latent_norm", 2 * (of.q_rank + of.rank)),
        *([build.gemm("q_b_proj", heads * key, [by_name["q_b_proj"]])] if of.q_rank else []),
        build.light("elementwise", "rotary_emb", 2 * (heads + 1) * of.rope),
        *(_index(build, of.index) if of.index else []),
        build.gemm("kv_b_proj", heads * (of.nope + of.v_size), [by_name["kv_b_proj"]], UNFOLDED),
        *_attend(build, of, shape),
        *_gate(build, by_name, heads * of.v_size),
        build.gemm("o_proj", build.arch.hidden, [by_name["o_proj"]]),
    ]


def _gate(build: Builder, by_name: dict[str, Linear], width: int) -> list[PlannedOperation]:
    if "g_proj" not in by_name:
        return []
    return [
        build.gemm("g_proj", width, [by_name["g_proj"]]),
        build.light("elementwise", "attention_gate", 3 * width),
    ]


def _compressed(build: Builder, of: Compressed) -> list[PlannedOperation]:
    """Queries and the shared vector, the vectors of several tokens, the scores of the index,
    attention, and the output in groups."""
    heads = of.heads // build.layout.tp
    by_name = {linear.path.removeprefix("attn."): linear for linear in of.linears}
    shape: dict[str, Attribute] = {
        "heads": heads,
        "kv_heads": 1,
        "head_size": of.size,
        "v_head_size": of.size,
        "shared_kv": True,
        "kv_dtype": build.kv_dtype,
        "sees": of.window,
        **({"compress": of.ratio} if of.ratio else {}),
        **({"top_k_tokens": of.top_k} if of.index else {}),
    }
    rows = [linear for linear in of.linears if ".compressor." in linear.path]
    inputs = [by_name["wq_a"], by_name["wkv"]]
    wo_a = by_name["wo_a"]
    return [
        build.gemm("qkv_a_proj", sum(linear.out for linear in inputs), inputs),
        build.light("norm", "latent_norm", 2 * (of.q_rank + of.size)),
        build.gemm("q_b_proj", heads * of.size, [by_name["wq_b"]]),
        build.light("elementwise", "rotary_emb", 2 * (heads + 1) * of.rope),
        *([build.gemm("compressor", sum(linear.out for linear in rows), rows)] if rows else []),
        *(_index(build, of.index, compressed(0, of.ratio)) if of.index else []),
        build.on("accelerators", "attention", "attention", compressed(of.window, of.ratio, of.top_k), shape),
        build.gemm("o_a_proj", wo_a.shape(build.layout.tp)[0], [wo_a]),
        build.gemm("o_proj", build.arch.hidden, [by_name["wo_b"]]),
    ]


def _index(build: Builder, of: Index, operands: Operands = ATTENTION) -> list[PlannedOperation]:
    """Every rank's own: projections, then scores of all tokens before. Nothing where an earlier layer has chosen."""
    if not of.own:
        return []
    scores: dict[str, Attribute] = {
        "heads": of.heads,
        "kv_heads": 1,
        "head_size": of.size,
        "v_head_size": 0,
        "kv_dtype": "fp8",
    }
    together = [linear for linear in of.linears if linear.into == of.linears[-1].into]
    alone = [linear for linear in of.linears if linear.into != of.linears[-1].into]
    return [
        *(build.gemm("index_q_proj", linear.out, [linear]) for linear in alone),
        build.gemm("index_proj", sum(linear.out for linear in together), together),
        build.on("accelerators", "attention", "index_scores", operands, scores),
    ]


def _state(build: Builder, of: State) -> list[PlannedOperation]:
    tp, hidden = build.layout.tp, build.arch.hidden
    first: Sequence[Linear] = [linear for linear in of.linears[:-1] if linear.into == hidden]
    later = [linear for linear in of.linears[:-1] if linear.into != hidden]
    return [
        build.gemm("in_proj", sum(linear.shape(tp)[0] for linear in first), first),
        *(build.gemm(linear.path.rpartition(".")[2], linear.shape(tp)[0], [linear]) for linear in later),
        build.compute(
            "state",
            of.layer,
            STATE,
            heads=of.heads // tp,
            head_size=of.head_size,
            depth=of.depth,
            conv_width=of.local_conv(tp),
            kernel=of.kernel,
            state_dtype=of.state_dtype or build.arch.dtype,
        ),
        build.light("norm", "gated_norm", 3 * of.heads * of.head_size // tp),
        build.gemm("out_proj", hidden, of.linears[-1:]),
    ]

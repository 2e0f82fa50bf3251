"""What a checkpoint calls its matrices, where that is not what most call them, and which vLLM computes as one.

Names of the checkpoints, which are those of vllm/model_executor/models (0.19) but for its ``packed_modules_mapping``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

QUERIES, GATES = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
#: outputs that vLLM computes together, by the name it has for them
ONE_MATRIX = {"qkv_proj": QUERIES, "gate_up_proj": GATES}


@dataclass(frozen=True, slots=True)
class Own:
    """Of a family: what is before the number of a layer, and its matrices' names by the usual ones."""

    layers: str = "layers"
    paths: dict[str, str] = field(default_factory=dict)


def _own(
    layers: str = "layers",
    qkv: str = "",
    out: str = "",
    gates: str = "",
    up: str = "",
    down: str = "",
    **others: str,
) -> Own:
    paths = dict.fromkeys([f"self_attn.{name}" for name in QUERIES], qkv) if qkv else {}
    paths |= dict.fromkeys([f"mlp.{name}" for name in GATES], gates) if gates else {}
    for usual, own in (("self_attn.o_proj", out), ("mlp.up_proj", up), ("mlp.down_proj", down)):
        if own:
            paths[usual] = own
    return Own(layers, paths | {f"mlp.{usual}_proj": own for usual, own in others.items()})


_ATTENTION = ("self_attention.query_key_value", "self_attention.dense")
_FOUR_WIDE = ("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
OWN: dict[str, Own] = {
    **dict.fromkeys(("phi3", "phi4", "phi4mm"), _own(qkv="self_attn.qkv_proj", gates="mlp.gate_up_proj")),
    **dict.fromkeys(("glm", "glm4", "glm4v", "glm4v_text"), _own(gates="mlp.gate_up_proj")),
    "phi": _own(out="self_attn.dense", up="mlp.fc1", down="mlp.fc2"),
    "starcoder2": _own(up="mlp.c_fc", down="mlp.c_proj"),
    "falcon": _own("h", *_ATTENTION, up=_FOUR_WIDE[0], down=_FOUR_WIDE[1]),
    "bloom": _own("h", *_ATTENTION, up=_FOUR_WIDE[0], down=_FOUR_WIDE[1]),
    "gpt_neox": _own(qkv="attention.query_key_value", out="attention.dense", up=_FOUR_WIDE[0], down=_FOUR_WIDE[1]),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), _own("h", "attn.c_attn", "attn.c_proj", up="mlp.c_fc", down="mlp.c_proj")),
    "opt": _own("decoder.layers", out="self_attn.out_proj", up="fc1", down="fc2"),
    "mpt": _own("blocks", "attn.Wqkv", "attn.out_proj", up="ffn.up_proj", down="ffn.down_proj"),
    "internlm2": _own(
        qkv="attention.wqkv", out="attention.wo", gate="feed_forward.w1", up="feed_forward.w3", down="feed_forward.w2"
    ),
    "baichuan": _own(qkv="self_attn.W_pack"),
    "chatglm": _own("encoder.layers", *_ATTENTION, gates=_FOUR_WIDE[0], down=_FOUR_WIDE[1]),
    "qwen": _own("h", "attn.c_attn", "attn.c_proj", gate="mlp.w2", up="mlp.w1", down="mlp.c_proj"),
}


def name(family: str, layer: int, path: str) -> str:
    """Of the matrix that is usually called ``path`` in its layer, without its model's prefix."""
    own = OWN.get(family, Own())
    return f"{own.layers}.{layer}.{own.paths.get(path, path)}"


def as_one(found: str) -> str:
    """What vLLM calls the matrix that this one of a checkpoint is a part of; the name itself if it is of none."""
    before, _, last = found.rpartition(".")
    whole = next((whole for whole, parts in ONE_MATRIX.items() if last in parts), last)
    return f"{before}.{whole}"


def parts(paths: Iterable[str]) -> list[list[int]]:
    """Which of a layer's matrices, by number, vLLM computes as one each."""
    found: dict[str, list[int]] = {}
    for number, path in enumerate(paths):
        if (whole := as_one(path)) != path:
            found.setdefault(whole, []).append(number)
    return [numbers for numbers in found.values() if len(numbers) > 1]

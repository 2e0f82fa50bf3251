"""What a transformer is made of, read from its Hugging Face ``config.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metronome.hwmodels import catalog
from metronome.hwmodels.interface import DTYPE_BYTES

from ..errors import InputError

#: model_type -> (has QK norm, has mixture of experts)
FAMILIES = {
    "llama": (False, False),
    "qwen3": (True, False),
    "qwen3_moe": (True, True),
    "mixtral": (False, True),
    "phimoe": (False, True),
    "qwen2_moe": (False, True),
    "glm4_moe": (False, True),  # QK norm where use_qk_norm says so
    "dots1": (True, True),
}
#: model_type -> kernels in which vLLM chooses a token's experts, where that is not one fused top-k kernel: its
#: phimoe routes by 21 tensor operations (`sparsemixer`, vLLM 0.12), out of the compiler's sight.
ROUTING_KERNELS = {"phimoe": 21}
DTYPES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "float32": "fp32",
    "half": "fp16",
    "float": "fp32",
    "bf16": "bf16",
    "fp16": "fp16",
    "fp32": "fp32",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shapes of one model; sizes in elements, ``dtype`` by its short name.

    ``experts`` is 0 for dense models; ``intermediate`` is then the MLP's width, else one expert's.
    The first ``dense_layers`` of a model with experts have an MLP of ``dense_intermediate`` instead; in
    the others every token also takes the shared experts, together ``shared_intermediate`` wide.
    ``routing_kernels`` choose the experts. ``sliding_window``: tokens a query sees; 0 = all before it.
    """

    name: str
    family: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocab: int
    max_positions: int
    dtype: str
    experts: int = 0
    top_k: int = 0
    qk_norm: bool = False
    sliding_window: int = 0
    dense_layers: int = 0
    dense_intermediate: int = 0
    shared_intermediate: int = 0
    routing_kernels: int = 1

    def without_experts(self, layers: range) -> int:
        """How many of these layers have an MLP instead of experts; all those of a dense model."""
        return sum(layer < self.dense_layers for layer in layers) if self.experts else len(layers)

    @property
    def mlp_width(self) -> int:
        """Width of the MLP of a layer without experts."""
        return self.dense_intermediate if self.experts else self.intermediate

    def weight_bytes(
        self,
        tp: int,
        expert_ranks: int = 1,
        layers: range | None = None,
        ends: int = 2,
        dense: bool = True,
        experts: bool = True,
    ) -> int:
        """Weights on one device: attention, MLP and shared experts cut ``tp`` ways, norms whole.

        Whole experts are spread over ``expert_ranks`` devices, or each is cut ``tp`` ways. ``layers``
        of the model (default all), and as many of its two ends: embedding and output head, both counted
        also where a model ties them. ``experts`` counts the experts with their gate, ``dense`` all else.
        """
        query, key_value = self.heads * self.head_size, self.kv_heads * self.head_size
        layers = layers or range(self.layers)
        without = self.without_experts(layers)
        with_experts = len(layers) - without
        parameters = ends * (self.vocab // tp) * self.hidden + (self.hidden if ends else 0)
        if dense:
            block = 2 * self.hidden + self.hidden * ((query + 2 * key_value) // tp) + (query // tp) * self.hidden
            parameters += len(layers) * block
            parameters += without * 3 * self.hidden * (self.mlp_width // tp)
            parameters += with_experts * 3 * self.hidden * (self.shared_intermediate // tp)
        if experts and with_experts:
            expert = 3 * self.hidden * self.intermediate
            here = self.experts // expert_ranks * expert if expert_ranks > 1 else self.experts * expert // tp
            parameters += with_experts * (self.hidden * self.experts + here)
        return int(parameters * DTYPE_BYTES[self.dtype])

    def kv_bytes_per_token(self, tp: int, kv_dtype: str, layers: int | None = None) -> int:
        """K and V of one token on one device: of all layers or of some; heads are repeated where tp exceeds them."""
        count = self.layers if layers is None else layers
        return int(2 * -(-self.kv_heads // tp) * self.head_size * count * DTYPE_BYTES[kv_dtype])


def load(model: str, find: Callable[[str], Path]) -> Architecture:
    """A bundled model by name, or a config.json (or its folder) where ``find`` says it is."""
    if model in catalog.model_names():
        return _from_config(model, f"model {model}", catalog.model_config(model))
    path = find(model)
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        names = ", ".join(catalog.model_names())
        raise InputError("scenario", "model", model, f"a bundled model ({names}) or a path to a config.json")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(str(path), "config.json", None, f"is not JSON: {error}") from None
    return _from_config(_name_from(path), str(path), config)


def _name_from(path: Path) -> str:
    """``org/name`` of ``.../org/name.json`` or ``.../org/name/config.json``."""
    if path.name == "config.json":
        path = path.parent
    return f"{path.parent.name}/{path.name.removesuffix('.json')}"


def _from_config(name: str, where: str, config: dict[str, Any]) -> Architecture:
    family = config.get("model_type")
    if family not in FAMILIES:
        raise InputError(where, "model_type", family, f"one of {', '.join(FAMILIES)}")

    def number(*fields: str, default: int | None = None) -> int:
        for field in fields:
            value = config.get(field)
            if value is not None:
                if not isinstance(value, int) or value < 1:
                    raise InputError(where, field, value, "must be a positive integer")
                return value
        if default is None:
            raise InputError(where, fields[0], None, "is missing")
        return default

    heads = number("num_attention_heads")
    hidden = number("hidden_size")
    dtype = config.get("torch_dtype") or config.get("dtype") or "bfloat16"
    if dtype not in DTYPES:
        raise InputError(where, "torch_dtype", dtype, f"one of {', '.join(DTYPES)}")
    intermediate = number("intermediate_size", "ffn_dim")
    qk_norm, has_experts = FAMILIES[family]
    one = number("moe_intermediate_size", default=intermediate) if has_experts else intermediate
    return Architecture(
        name=name,
        family=family,
        hidden=hidden,
        intermediate=one,
        layers=number("num_hidden_layers"),
        heads=heads,
        kv_heads=number("num_key_value_heads", default=heads),
        head_size=number("head_dim", default=hidden // heads),
        vocab=number("vocab_size"),
        max_positions=number("max_position_embeddings"),
        dtype=DTYPES[dtype],
        routing_kernels=ROUTING_KERNELS.get(family, 1),
        qk_norm=qk_norm or bool(config.get("use_qk_norm")),
        sliding_window=number("sliding_window", default=0) if config.get("use_sliding_window", True) else 0,
        **(_experts(where, config, number, intermediate, one) if has_experts else {}),
    )


def _experts(
    where: str, config: dict[str, Any], number: Callable[..., int], intermediate: int, one: int
) -> dict[str, int]:
    """What only models with experts have; ``one`` expert's width. Dense layers are known at the beginning only."""
    dense = config.get("first_k_dense_replace") or 0
    only = config.get("mlp_only_layers") or []
    if only:
        dense = len(only)
        if sorted(only) != list(range(dense)):
            raise InputError(where, "mlp_only_layers", only, "dense layers are supported before all others only")
    if config.get("decoder_sparse_step", 1) != 1:
        raise InputError(where, "decoder_sparse_step", config["decoder_sparse_step"], "must be 1")
    return {
        "experts": number("num_local_experts", "num_experts", "n_routed_experts"),
        "top_k": number("num_experts_per_tok"),
        "dense_layers": dense,
        "dense_intermediate": intermediate if dense else 0,
        "shared_intermediate": number(
            "shared_expert_intermediate_size", default=(config.get("n_shared_experts") or 0) * one
        ),
    }

"""The encoder of images beside a decoder: how large it is. What it does is not modelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fields import Fields


def parameters(at: Fields) -> int:
    """Weights of a vision transformer by ``vision_config``: attention, MLP and norms of each layer, patches,
    positions and a projection into the decoder; to a few percent of it. 0 where there is none."""
    config = at.whole.get("vision_config")
    if not isinstance(config, Mapping):
        return 0
    width = _first(config, "embed_dim", "hidden_size", "vt_hidden_size", "width")  # Qwen2-VL's hidden_size: output
    depth = _first(config, "num_hidden_layers", "depth", "vt_num_hidden_layers", "layers")
    if not width or not depth:
        return 0
    inner = _first(config, "intermediate_size", "vt_intermediate_size") or int(config.get("mlp_ratio", 4) * width)
    gated = 3 if config.get("hidden_act") == "silu" else 2
    block = 4 * width * width + gated * width * inner + 9 * width + inner
    patch = _first(config, "patch_size") or 14
    channels, frames = _first(config, "in_channels", "num_channels") or 3, _first(config, "temporal_patch_size") or 1
    positions = _first(config, "num_position_embeddings", "position_embedding_size") * width
    merged = width * (_first(config, "spatial_merge_size") or 1) ** 2
    out = _first(config, "out_hidden_size") or at.number("hidden_size")
    mergers = 1 + len(config.get("deepstack_visual_indexes") or ())
    return depth * block + width * channels * frames * patch**2 + positions + mergers * (merged * merged + merged * out)


def _first(config: Mapping[str, Any], *names: str) -> int:
    return next((config[name] for name in names if isinstance(config.get(name), int)), 0)

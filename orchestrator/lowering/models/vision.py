"""The encoder of images beside a decoder: how large it is, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .fields import Fields

#: model_type -> tokens of the largest image that a processor makes by default: 12,845,056 pixels of 28 x 28 a token, or
#: 16,777,216 of 32 x 32 (vLLM's startup logs: "Encoder cache will be initialized with a budget of 16384 tokens")
MOST_TOKENS = {
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), 16384),
}


#: fields that name encoders of other inputs, or of images by another description than ``vision_config``
OTHERS = (
    "audio_config",
    "audio_processor",
    "speech_config",
    "video_config",
    "img_processor",
    "visual",
    "mm_vision_tower",
)


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision transformer.

    Attributes:
        depth, width, heads, inner, gated: of its layers; ``inner`` is the width of their MLPs.
        patch_inputs: numbers of one patch: channels x frames x its pixels.
        patches: of one token of the decoder.
        window: patches that see one another in layers that have windows, ``windowed`` of them; 0 = all see all.
        merged, out: inputs and outputs of the projector, two matrices; ``projectors`` of them.
        most_tokens: of one image; 0 = not known.
    """

    depth: int
    width: int
    heads: int
    inner: int
    gated: bool
    patch_inputs: int
    patches: int
    merged: int
    out: int
    projectors: int = 1
    window: int = 0
    windowed: int = 0
    most_tokens: int = 0


def parameters(at: Fields) -> int:
    """Weights of a vision transformer by ``vision_config``: attention, MLP and norms of each layer, patches,
    positions and a projection into the decoder; to a few percent of it. 0 where there is none."""
    found = tower(at)
    if found is None:
        return 0
    width, inner = found.width, found.inner
    block = 4 * width * width + (3 if found.gated else 2) * width * inner + 9 * width + inner
    positions = _first(_config(at), "num_position_embeddings", "position_embedding_size") * width
    projector = found.merged * found.merged + found.merged * found.out
    return found.depth * block + width * found.patch_inputs + positions + found.projectors * projector


def left_out(at: Fields) -> list[str]:
    """Encoders that a file has and that are not modelled, to be warned of: their weights take memory."""
    found = [name for name in OTHERS if at.whole.get(name)]
    if _config(at) and tower(at) is None:
        found.append("vision_config")
    return [f"{name}: this encoder is not modelled, and its weights are not counted" for name in found]


def tower(at: Fields) -> Tower | None:
    """By ``vision_config``; None without one. ``heads`` is 0 where the file does not say."""
    config = _config(at)
    width = _first(config, "embed_dim", "hidden_size", "vt_hidden_size", "width")  # Qwen2-VL's hidden_size: output
    depth = _first(config, "num_hidden_layers", "depth", "vt_num_hidden_layers", "layers")
    if not width or not depth:
        return None
    patch = _first(config, "patch_size") or 14
    channels, frames = _first(config, "in_channels", "num_channels") or 3, _first(config, "temporal_patch_size") or 1
    full = config.get("fullatt_block_indexes")
    windowed = depth - len(full) if isinstance(full, list) and _first(config, "window_size") else 0
    return Tower(
        depth,
        width,
        _first(config, "num_heads", "num_attention_heads", "vt_num_attention_heads"),
        _first(config, "intermediate_size", "vt_intermediate_size") or int(config.get("mlp_ratio", 4) * width),
        config.get("hidden_act") == "silu",
        channels * frames * patch**2,
        _patches(at, config, patch),
        width * (_first(config, "spatial_merge_size") or 1) ** 2,
        _first(config, "out_hidden_size") or at.number("hidden_size"),
        1 + len(config.get("deepstack_visual_indexes") or ()),
        (_first(config, "window_size") // patch) ** 2 if windowed else 0,
        windowed,
        _most_tokens(at),
    )


def _patches(at: Fields, config: Mapping[str, Any], patch: int) -> int:
    """Of one token, by the field that says it: merged squares, a share of pixels that is kept, tokens of an image of
    fixed size, or pooling; else one."""
    if side := _first(config, "spatial_merge_size") or _first(at.whole, "spatial_merge_size"):
        return side * side
    kernel = config.get("merge_kernel_size") or at.whole.get("merge_kernel_size")
    if isinstance(kernel, list) and len(kernel) == 2:
        return int(kernel[0] * kernel[1])
    kept = config.get("pixel_shuffle_ratio") or at.whole.get("downsample_ratio")
    if isinstance(kept, int | float) and 0 < kept < 1:
        return round(1 / kept**2)
    tokens, size = _first(at.whole, "mm_tokens_per_image"), _first(config, "image_size")
    if tokens and size:
        return max(1, (size // patch) ** 2 // tokens)
    return (_first(config, "pooling_kernel_size") or 1) ** 2


def _most_tokens(at: Fields) -> int:
    return MOST_TOKENS.get(str(at.whole.get("model_type")), _first(at.whole, "mm_tokens_per_image"))


def _config(at: Fields) -> Mapping[str, Any]:
    config = at.whole.get("vision_config")
    return config if isinstance(config, Mapping) else {}


def _first(config: Mapping[str, Any], *names: str) -> int:
    return next((config[name] for name in names if isinstance(config.get(name), int)), 0)

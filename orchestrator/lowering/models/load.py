"""Finding a model's files, choosing its family, and putting its architecture together."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from metronome.hwmodels import catalog

from ...errors import InputError
from ...strict import did_you_mean
from ..architecture import Architecture
from . import (
    deepseek,
    deepseek_v4,
    gemma4,
    gpt_oss,
    hybrids,
    llama4,
    names,
    nemotron,
    older,
    plain,
    quantisation,
    qwen_next,
    sparse,
    unknown,
    vision,
)
from .fields import Fields
from .parts import Layer, Linear, formatted
from .rules import Quantisation

#: model_type -> its layers, for families of more than attention and MLP or experts
SPECIAL: dict[str, Callable[[Fields], list[Layer]]] = {
    **dict.fromkeys(
        (
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "kimi_k2",
            "kimi_k25",
            "kimi_vl",
            "glm4_moe_lite",
            "glm_moe_dsa",
        ),
        deepseek.layers,
    ),
    **dict.fromkeys(("deepseek_v4", "deepseek_ref"), deepseek_v4.layers),
    **dict.fromkeys(("gemma4", "gemma4_text"), gemma4.layers),
    "gpt_oss": gpt_oss.layers,
    **dict.fromkeys(("llama4", "llama4_text"), llama4.layers),
    "qwen3_next": partial(qwen_next.layers, fused=True),
    **dict.fromkeys(
        ("qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"), partial(qwen_next.layers, fused=False)
    ),
    "nemotron_h": nemotron.hybrid,
    "nemotron-nas": nemotron.by_search,
    "granitemoehybrid": hybrids.granite,
    "jamba": hybrids.jamba,
    **dict.fromkeys(("kimi_linear", "kimi_k3"), hybrids.kimi),
    **dict.fromkeys(("minimax_m3", "minimax_m3_vl"), sparse.minimax_m3),
    "mimo_v2_flash": sparse.mimo,
    **dict.fromkeys(("step3p7", "step3p5"), sparse.step),
}
TIED = frozenset({"gemma4", "gemma4_text"})


def load(model: str, find: Callable[[str], Path], quantization: str | None = None) -> Architecture:
    """A bundled model by name, or a config.json (or its folder) where ``find`` says it is.

    ``quantization`` is vLLM's flag: a checkpoint's own method, or one that vLLM applies while loading.
    Raises InputError with the field that stops it.
    """
    if model in catalog.model_names():
        return read(model, f"model {model}", catalog.model_config(model), None, quantization)
    path = find(model)
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        names = ", ".join(catalog.model_names())
        raise InputError("scenario", "model", model, f"a bundled model ({names}) or a path to a config.json")
    folder = Path(model).parent if Path(model).name == path.name else Path(model)
    beside = find(str(folder / "hf_quant_config.json")) if path.name == "config.json" else None
    quantised = _json(beside) if beside is not None and beside.is_file() else None
    config = _json(path)
    if quantised is None and beside is not None and not config.get("quantization_config"):
        config = _with_older(config, lambda name: find(str(folder / name)), str(path), quantization)
    return read(_name_from(path), str(path), config, quantised, quantization)


#: files beside config.json that vLLM 0.19 reads if it is told their method (``get_config_filenames``)
OLDER = {"awq": ("quant_config.json", "quantize_config.json"), "gptq": ("quantize_config.json",)}


def _with_older(
    config: dict[str, Any], find: Callable[[str], Path], where: str, quantization: str | None
) -> dict[str, Any]:
    """The config with what an older file beside it says of its weights. Raises InputError where nobody has asked for
    that: vLLM would then take the weights for plain ones."""
    asked = (quantization or "").removesuffix("_marlin")
    for name in dict.fromkeys(name for names_ in OLDER.values() for name in names_):
        if not (path := find(name)).is_file():
            continue
        if name not in OLDER.get(asked, ()):
            allowed = f"is missing, and {name} lies beside: vLLM reads that with quantization awq or gptq alone"
            raise InputError(where, "quantization_config", None, allowed)
        return {**config, "quantization_config": {**_json(path), "quant_method": asked}}
    return config


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(str(path), path.name, None, f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InputError(str(path), path.name, None, "must be a JSON object")
    return found


def _name_from(path: Path) -> str:
    """``org/name`` of ``.../org/name.json`` or ``.../org/name/config.json``."""
    if path.name == "config.json":
        path = path.parent
    return f"{path.parent.name}/{path.name.removesuffix('.json')}".removeprefix("/")


def read(
    name: str,
    where: str,
    config: Mapping[str, Any],
    quantised: Mapping[str, Any] | None = None,
    quantization: str | None = None,
) -> Architecture:
    """The architecture of a config's content; ``quantised`` is that of hf_quant_config.json."""
    at = Fields(where, config)
    kind = at.get("model_type")
    if not isinstance(kind, str):
        raise at.refuse("model_type", kind, "is missing" if kind is None else "must be a name")
    if kind == "mllama":
        raise at.refuse("model_type", kind, "cross attention is not modelled")
    try:
        family, layers = _layers(at, kind)
    except (TypeError, KeyError, AttributeError) as error:  # in a part of the file that a family reads itself
        raise at.refuse("model_type", kind, f"has a field that is not of its kind: {error}") from error
    arch = _assemble(name, at, kind, layers, family)
    try:
        chosen = _choose(at, quantised, quantization)
    except (TypeError, KeyError, AttributeError) as error:
        allowed = f"has a field that is not of its kind: {error}"
        raise at.refuse("quantization_config", at.get("quantization_config"), allowed) from error
    return arch if chosen is None else _quantised(at, arch, chosen)


def _layers(at: Fields, kind: str) -> tuple[plain.Family | None, list[Layer]]:
    """The layers of a ``model_type``, and its family where fields say them. Raises InputError."""
    if kind in SPECIAL:
        return None, SPECIAL[kind](at)
    family = _family(at, kind)
    at.defaults.update(family.defaults)
    return family, plain.layers(at, family)


def _family(at: Fields, kind: str) -> plain.Family:
    """The family of a ``model_type`` whose layers are attention and MLP or experts. Raises InputError."""
    if kind in plain.FAMILIES:
        return plain.FAMILIES[kind]
    if kind in older.FAMILIES:
        return older.FAMILIES[kind](at)
    known = sorted([*plain.FAMILIES, *older.FAMILIES, *SPECIAL])
    return unknown.family(at, kind, did_you_mean(kind, known), f"known are {', '.join(known)}")


def _assemble(name: str, at: Fields, kind: str, layers: list[Layer], family: plain.Family | None) -> Architecture:
    hidden, vocab = at.number("hidden_size"), at.number("vocab_size")
    tied = at.flag("tie_word_embeddings", default=family.tied if family else kind in TIED)
    bias = at.flag("lm_head_bias", default=bool(family and family.head_bias))
    if at.get("dual_chunk_attention_config"):
        at.warn("dual_chunk_attention_config: every token attends to all before it, not to chunks of them")
    seen, tower = vision.parameters(at), vision.tower(at)
    for text in vision.left_out(at):
        at.warn(text)
    if tower and not tower.heads:
        at.warn(f"vision_config: the encoder's {seen / 1e9:.2f} billion weights are counted; its heads are missing")
    return Architecture(
        name=name,
        family=kind,
        hidden=hidden,
        vocab=vocab,
        max_positions=(longest := at.positions()),
        usual_positions=at.usual() or longest,
        dtype=at.dtype(),
        dtype_said=at.dtype_said(),
        blocks=_same_once(layers),
        head=Linear("lm_head", vocab, hidden, bias=bias, quantisable=False),
        tied=tied,
        final_norm=hidden * (2 if family and family.norm_bias else 1 if not family or family.norms else 0),
        encoder=seen,
        tower=tower if tower and tower.heads else None,
        per_layer_embedding=_per_layer(at, len(layers)),
        learned=_learned(at, family, longest) if family else 0,
        warnings=tuple(f"{name}: {text}" for text in at.warnings),
    )


def _per_layer(at: Fields, layers: int) -> int:
    """Gemma's embeddings of every layer, and the projection into them."""
    width = at.number("hidden_size_per_layer_input", default=0, least=0)
    if not width:
        return 0
    return layers * width * (at.number("vocab_size_per_layer_input") + at.number("hidden_size")) + width


def _learned(at: Fields, family: plain.Family, longest: int) -> int:
    """Parameters of learned positions, and of a norm after the embedding."""
    hidden = at.number("hidden_size")
    rows = 0 if family.learned is None else longest + family.learned
    return rows * hidden + (2 * hidden if family.embedding_norm else 0)


def _same_once(layers: list[Layer]) -> tuple[Layer, ...]:
    """Equal layers as one object, so that comparing them is cheap."""
    known: dict[Layer, Layer] = {}
    return tuple(known.setdefault(layer, layer) for layer in layers)


def _choose(at: Fields, quantised: Mapping[str, Any] | None, asked: str | None) -> Quantisation | None:
    """The checkpoint's own quantisation, or the one asked for where it has none."""
    own = quantisation.read(at, quantised)
    if asked in (None, "auto"):
        return own
    if own is None:
        if asked in quantisation.ONLINE:
            return quantisation.online(asked)
        raise InputError(
            "scenario",
            "quantization",
            asked,
            f"{at.where} is not quantised; while loading, one of {', '.join(quantisation.ONLINE)}",
        )
    if asked.removesuffix("_marlin").removesuffix("_fp4") != own.method:
        raise InputError("scenario", "quantization", asked, f"{at.where} is a checkpoint of method {own.method}")
    return own


def _quantised(at: Fields, arch: Architecture, chosen: Quantisation) -> Architecture:
    layers = [
        formatted(layer, lambda linear, i=i: chosen.format(names.name(arch.family, i, linear.path)))  # type: ignore[misc]
        for i, layer in enumerate(arch.blocks)
    ]
    for number, layer in enumerate(layers):
        _check_one_matrix(at, number, layer)
    head = arch.head if arch.tied else replace(arch.head, format=chosen.head)
    found = [*([chosen.warning] if chosen.warning else []), *quantisation.mistyped(at.get("quantization_config"))]
    if layers == list(arch.blocks) and head == arch.head:
        found.append(
            f"quantization_config of method {chosen.method} is for no matrix of this model: it is served plain"
        )
    called = {names.name(arch.family, i, one.path) for i, layer in enumerate(layers) for one in layer.linears}
    if unknown_ := chosen.unknown(called, len(layers)):
        more = f" and {len(unknown_) - 1} others" if len(unknown_) > 1 else ""
        found.append(f"quantization_config excludes {unknown_[0]}{more}: no matrix of this model is called so")
    return replace(
        arch,
        blocks=_same_once(layers),
        head=head,
        quantization=chosen.method,
        kv_dtype=chosen.kv_dtype,
        warnings=(*arch.warnings, *(f"{arch.name}: {text}" for text in found)),
    )


def _check_one_matrix(at: Fields, number: int, layer: Layer) -> None:
    """Raises InputError for parts of what vLLM computes as one that are stored in different ways (its
    ``is_layer_skipped``)."""
    for together in names.parts([one.path for one in layer.linears]):
        first, *others = [layer.linears[place] for place in together]
        for other in others:
            if other.format != first.format:
                stored = " and ".join(f"{one.path} as {one.format.name or 'it was'}" for one in (first, other))
                allowed = f"has {stored} in layer {number}: vLLM computes them as one matrix, of one format"
                raise at.refuse("quantization_config", None, allowed)

"""AMD's Quark: one scheme for all matrices, others by name (`vllm/model_executor/layers/quantization/quark`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import formats
from .fields import Fields
from .formats import Format
from .rules import Quantisation, everything, left_out, matches


def quark(at: Fields, config: Mapping[str, Any]) -> Quantisation:
    """Raises InputError for a scheme that is not known here, or that vLLM does not load."""
    export, layers = config.get("export"), config.get("layer_quant_config") or {}
    if not isinstance(export, Mapping):
        raise at.refuse("quantization_config.export", export, "must be a mapping: vLLM does not load it without")
    if not isinstance(layers, Mapping):
        raise at.refuse("quantization_config.layer_quant_config", layers, "must be a mapping of mappings")
    if config.get("layer_type_quant_config"):
        allowed = "schemes by the kind of a layer are not modelled"
        raise at.refuse("quantization_config.layer_type_quant_config", config["layer_type_quant_config"], allowed)
    of_kv = left_out(at, export, "kv_cache_group")
    named = [(name, _scheme(at, f"layer_quant_config.{name}", one, name in of_kv)) for name, one in layers.items()]
    usual = _scheme(at, "global_quant_config", config.get("global_quant_config"))
    _check_kv(at, layers, of_kv)
    turned = "quark: vLLM stores projections of attention that it leaves out in fp4, too, which is not counted"
    return Quantisation(
        "quark",
        (lambda name: next((one for pattern, one in named if matches(pattern, name)), None), everything(usual)),
        left_out(at, config, "exclude"),
        warning=turned if usual.name == "fp4" and at.get("model_type") == "deepseek_v3" else "",
    )


def _scheme(at: Fields, where: str, given: Any, keeps_kv: bool = False) -> Format:
    """The format of the matrices that are stored so; outputs have a type where they are kept as K and V alone."""
    where = f"quantization_config.{where}"
    weights, inputs = (
        (given.get(name) for name in ("weight", "input_tensors")) if isinstance(given, Mapping) else (0, 0)
    )
    if not isinstance(weights, Mapping) or not isinstance(inputs, Mapping):
        raise at.refuse(
            where, given, "must have weight and input_tensors, a mapping each: there is no other scheme here"
        )
    if given.get("bias") or (given.get("output_tensors") and not keeps_kv):
        raise at.refuse(where, None, "vLLM loads no quantised bias or output_tensors, but of kv_cache_group")
    kind, scheme = weights.get("dtype"), weights.get("qscheme")
    if kind == inputs.get("dtype") == "fp8_e4m3" and scheme in ("per_tensor", "per_channel"):
        return formats.fp8(per_channel=scheme == "per_channel")
    if kind == inputs.get("dtype") == "int8" and scheme in ("per_tensor", "per_channel"):
        return formats.int8()
    microscaling = (scheme, weights.get("group_size"), weights.get("scale_format")) == ("per_group", 32, "e8m0")
    if kind == inputs.get("dtype") == "fp4" and microscaling:
        return formats.mxfp4(weight_only=False)
    shown = f"{kind} {scheme}, inputs {inputs.get('dtype')}"
    raise at.refuse(f"{where}.weight", shown, "is not a known scheme: fp8_e4m3, int8, or fp4 by 32, inputs alike")


def _check_kv(at: Fields, layers: Mapping[str, Any], of_kv: tuple[str, ...]) -> None:
    """What the projections of ``kv_cache_group`` put out is K and V, in fp8 if ``kv_cache_dtype`` says so: vLLM 0.19
    does not take that from such a file. Raises InputError where it is of another type."""
    outputs = [layers[name].get("output_tensors") for name in layers if name in of_kv]
    in_fp8 = all(isinstance(one, Mapping) and one.get("dtype") == "fp8_e4m3" for one in outputs)
    if of_kv and not (outputs and in_fp8):
        allowed = "each must be in layer_quant_config, with output_tensors of dtype fp8_e4m3"
        raise at.refuse("quantization_config.export.kv_cache_group", list(of_kv), allowed)

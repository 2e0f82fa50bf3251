"""Checkpoints of AMD's Quark: formats of its matrices, and what of its files is refused."""

from __future__ import annotations

import pytest
from metronome.orchestrator.errors import InputError

from .test_quantisation import NUMBERS, REST, ROWS, arch

INT8 = {"dtype": "int8", "qscheme": "per_channel", "symmetric": True}
QUARK_FP8 = {"dtype": "fp8_e4m3", "is_dynamic": False, "qscheme": "per_tensor"}
QUARK_FP4 = {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "e8m0"}


def quark(weight, inputs=None, **more):
    one = {"weight": weight, "input_tensors": inputs or weight, "output_tensors": None, "bias": None}
    return {"quant_method": "quark", "export": {"kv_cache_group": []}, "global_quant_config": one, **more}


def with_kv(**changed):
    """As AMD's FP8-KV checkpoints have it."""
    one = {"weight": QUARK_FP8, "input_tensors": QUARK_FP8, "output_tensors": {**QUARK_FP8, **changed}}
    layers = {"*k_proj": one, "*v_proj": one}
    return quark(QUARK_FP8, export={"kv_cache_group": [*layers]}, layer_quant_config=layers, exclude=["lm_head"])


@pytest.mark.parametrize(
    ("config", "layer", "compute"),
    [
        (quark(QUARK_FP8), NUMBERS + 7 * 8, "fp8"),
        (quark({**QUARK_FP8, "qscheme": "per_channel"}, QUARK_FP8), NUMBERS + ROWS * 4, "fp8"),
        (quark(INT8), NUMBERS + ROWS * 4, "int8"),
        (quark(QUARK_FP4, {**QUARK_FP4, "is_dynamic": True}), NUMBERS * (0.5 + 1 / 32), "fp4"),
        (with_kv(), NUMBERS + 7 * 8, "fp8"),
    ],
)
def test_formats_of_quark(config, layer, compute):
    found = arch(config)
    assert found.weight_bytes(1) == 2 * layer + REST and found.quantization == "quark" and not found.kv_dtype
    assert {linear.format.compute for block in found.blocks for linear in block.linears} == {compute}


def test_quark_by_name_and_what_it_leaves_out():
    other = {"weight": INT8, "input_tensors": INT8}
    first, second = arch(
        quark(QUARK_FP8, layer_quant_config={"*down_proj": other}, exclude=["model.layers.0.self_attn*"])
    ).blocks
    assert [linear.format.name for linear in first.linears] == [""] * 4 + ["fp8", "fp8", "int8"]
    assert [linear.format.name for linear in second.linears] == ["fp8"] * 6 + ["int8"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (quark(QUARK_FP8, export=None), "export: must be a mapping: vLLM does not load it without"),
        (quark({**QUARK_FP4, "group_size": 16}), "'fp4 per_group, inputs fp4': is not a known scheme"),
        (quark(QUARK_FP4, QUARK_FP8), "'fp4 per_group, inputs fp8_e4m3': is not a known scheme"),
        (quark([QUARK_FP8, INT8], QUARK_FP8), "must have weight and input_tensors"),
        (quark(QUARK_FP8, global_quant_config=None), "global_quant_config: must have weight and input_tensors"),
        (quark(QUARK_FP8, layer_quant_config=["*"]), "layer_quant_config = .*must be a mapping of mappings"),
        (quark(QUARK_FP8, layer_type_quant_config={"Linear": {}}), "by the kind of a layer are not modelled"),
        (quark(QUARK_FP8, export={"kv_cache_group": ["*k_proj"]}), "each must be in layer_quant_config"),
        (with_kv(dtype="int8"), "with output_tensors of dtype fp8_e4m3"),
        (quark(QUARK_FP8, exclude="lm_head"), "exclude = 'lm_head': must be a list of names"),
    ],
)
def test_what_quark_says_that_is_not_served(config, message):
    with pytest.raises(InputError, match=message):
        arch(config)

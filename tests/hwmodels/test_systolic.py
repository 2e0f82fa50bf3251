"""The closed form of an array, against figures the tool printed and against its own definition."""

from __future__ import annotations

import pytest
from metronome.hwmodels.accelerator.systolic import Gemm, Systolic
from metronome.hwmodels.interface import Template

#: SCALE-Sim 3.0.0, stall-free: square array, dataflow, m, n, k -> cycles.
PRINTED = [
    (32, "ws", (16, 512, 512), 28159),
    (32, "ws", (16, 1024, 1024), 112639),
    (32, "ws", (16, 2048, 2048), 450559),
    (128, "ws", (16, 512, 512), 6367),
    (128, "ws", (16, 1024, 1024), 25471),
    (128, "ws", (128, 2048, 2048), 130559),
    (128, "ws", (16, 4096, 4096), 407551),
    (128, "ws", (256, 4096, 4096), 653311),
    (128, "os", (16, 4096, 4096), 139199),
]


def array(**config):
    return Systolic({"clock_mhz": 1000, **config})


@pytest.mark.parametrize(("size", "dataflow", "shape", "cycles"), PRINTED)
def test_cycles_are_those_the_tool_printed(size, dataflow, shape, cycles):
    assert array(rows=size, columns=size, dataflow=dataflow).cycles(Gemm(*shape)) == cycles


def gemm(n=512, k=512):
    return Template(0, "gemm", "qkv_proj", {"n": n, "k": k, "dtype": "bf16"})


def attention(heads=8, kv_heads=8, size=128):
    at = {"heads": heads, "kv_heads": kv_heads, "head_size": size, "dtype": "bf16", "kv_dtype": "bf16"}
    return Template(0, "attention", "attention", at)


def cycles(model, template, *values):
    return model.estimate(template, values).duration_ps / 1000


def test_a_gemm_takes_its_cycles_at_the_clock():
    assert cycles(array(), gemm(), 16) == 6367
    assert cycles(array(clock_mhz=500), gemm(), 16) == 2 * 6367


def test_one_decode_is_two_gemms_a_head_with_its_queries_as_rows():
    model = array()
    expected = 8 * (model.cycles(Gemm(4, 301, 128)) + model.cycles(Gemm(4, 128, 301)))
    assert cycles(model, attention(heads=32), 1, 300, 300, 300) == expected


def test_equal_contexts_add_up_and_a_prompt_is_computed_whole():
    model = array()
    one = cycles(model, attention(), 1, 300, 300, 300)
    assert cycles(model, attention(), 5, 1500, 300, 300) == 5 * one
    assert cycles(model, attention(), 0, 0, 0, 0, 200, 100) == 8 * (
        model.cycles(Gemm(200, 300, 128)) + model.cycles(Gemm(200, 128, 300))
    )


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
def test_contexts_that_differ_cost_the_mean_of_equally_likely_ones(dataflow):
    """Whatever stream or fold the context becomes: the mean over one width of the array, where it is linear."""
    model = array(rows=64, columns=64, dataflow=dataflow)
    mean = sum(cycles(model, attention(), 1, c, c, c) for c in range(640 - 32, 640 + 32)) / 64
    spread = cycles(model, attention(), 64, 64 * 640 - 32, 640 + 31, 640 - 32) / 64
    assert spread == pytest.approx(mean, rel=0.005)


def test_experts_share_the_tokens():
    at = {"hidden": 256, "intermediate": 512, "experts": 8, "top_k": 2, "dtype": "bf16"}
    model = array()
    expected = model.cycles(Gemm(12, 8, 256)) + 6 * (model.cycles(Gemm(4, 1024, 256)) + model.cycles(Gemm(4, 256, 512)))
    assert cycles(model, Template(0, "moe", "moe", at), 12, 6) == expected


def test_vectors_go_through_the_vector_unit():
    norm = Template(0, "norm", "input_layernorm", {"width": 4096, "dtype": "bf16"})
    assert cycles(array(vector_lanes=512), norm, 10) == 80

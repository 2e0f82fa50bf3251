"""FLOPs and bytes of attention that does not see all, of states, and of products of other types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metronome.hwmodels.accelerator.counting import converted, pairs_seen, work
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.interface import Template, UnsupportedOperation

few = st.integers(0, 60)


@given(new=st.integers(1, 60), cached=few, sees=st.integers(1, 50), chunk=st.booleans())
def test_pairs_are_those_one_by_one(new, cached, sees, chunk):
    positions = range(cached, cached + new)
    one_by_one = sum(p % sees + 1 if chunk else min(p + 1, sees) for p in positions)
    assert pairs_seen(new, cached, sees, chunk) == one_by_one


def template(kind, **attributes):
    return Template(0, kind, kind, {"dtype": "bf16", **attributes})


MLA = {"heads": 16, "kv_heads": 1, "head_size": 576, "v_head_size": 512, "shared_kv": True, "kv_dtype": "bf16"}


def test_latent_attention_reads_its_vector_once():
    flops, moved = work(template("attention", **MLA), (1, 999, 999, 999))
    assert flops == 2 * 1000 * 16 * (576 + 512)
    assert moved == 16 * (576 + 512) * 2 + 1000 * 576 * 2


def test_prompts_of_latent_attention_are_computed_with_heads_of_their_own():
    flops, _ = work(template("attention", **MLA, prompt_head_size=192, prompt_v_head_size=128), (0, 0, 0, 0, 3, 0))
    assert flops == 2 * 6 * 16 * (192 + 128)


def test_a_state_is_read_and_written_once_a_sequence():
    shape = {"heads": 4, "head_size": 8, "depth": 16, "conv_width": 10, "kernel": 4, "state_dtype": "fp32"}
    _, one = work(template("state", **shape), (1, 1))
    _, two = work(template("state", **shape), (1, 2))
    assert two - one == 2 * (4 * 8 * 16 * 4 + 10 * 3 * 2)


FP8 = {"n": 4096, "k": 4096, "weight_dtype": "fp8", "weight_bits": 8, "compute": "fp8"}


def test_weights_move_in_their_own_size():
    _, plain = work(template("gemm", n=4096, k=4096), (1,))
    _, four = work(template("gemm", n=4096, k=4096, weight_dtype="int4", weight_bits=4.25), (1,))
    assert plain - four == pytest.approx(4096 * 4096 * (2 - 4.25 / 8))


def test_inputs_of_another_type_are_made_first():
    assert converted(template("gemm", **FP8), (10,)) == 10 * 4096 * 5
    assert converted(template("gemm", n=4096, k=4096), (10,)) == 0


def test_a_device_without_fp8_multiplies_in_the_activations_type():
    at = {"launch_overhead_ns": 0}
    a100, h100 = Roofline({"device": "a100-80g-sxm", **at}), Roofline({"device": "h100-sxm", **at})
    fp8, plain = template("gemm", **FP8), template("gemm", n=4096, k=4096)
    large = (16384,)
    assert a100.estimate(fp8, large).duration_ps >= a100.estimate(plain, large).duration_ps
    assert h100.estimate(fp8, large).duration_ps < 0.8 * h100.estimate(plain, large).duration_ps


def test_no_type_a_device_lacks_is_taken_for_another():
    with pytest.raises(UnsupportedOperation, match="no bf16 rate"):
        Roofline({"device": "t4"}).declare([template("gemm", n=8, k=8)])
    with pytest.raises(UnsupportedOperation, match="no int8 rate"):
        Roofline({"device": "v100-32g-sxm"}).declare(
            [Template(0, "gemm", "g", {**FP8, "dtype": "fp16", "compute": "int8"})]
        )

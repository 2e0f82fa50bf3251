"""The older profile format, on a profile small enough to check by hand."""

from __future__ import annotations

import pytest

from hwmodels.accelerator.profiled import Profiled
from hwmodels.interface import MAX_PS, ConfigError, Operation, Provenance, Template, UnsupportedOperation

COMMON = {"model": "me/mine", "tp": 1, "dtype": "fp16"}
LAYERS = ("embedding", "input_layernorm", "q_proj", "k_proj", "v_proj", "rope", "o_proj", "post_layernorm", "gate_proj",
          "up_proj", "act_fn", "down_proj", "final_layernorm", "lm_head")  # fmt: skip
HEADER = (
    "time_stats.attn_prefill.mean,time_stats.attn_decode.mean,batch_size,prefill_chunk_size,kv_cache_size,is_prefill"
)
SHAPE = {"heads": 4, "kv_heads": 2, "head_size": 8, "kv_dtype": "fp16"}


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "me/mine/tp1"
    folder.mkdir(parents=True)
    rows = [f"{layer},{n},0,1,{100 * (i + 1) + n}" for i, layer in enumerate(LAYERS) for n in (1, 10)]
    (folder / "layers.csv").write_text("\n".join(["layer_name,input,kv_cache,tp_size,latency(ns)", *rows]))
    attention = [
        f"{ms},,1,{chunk},{kv},True" for chunk, kv, ms in ((32, 32, 0.001), (32, 64, 0.002), (64, 64, 0.003), (64, 128, 0.005))
    ] + [f",{n * kv / 1e6},{n},0,{kv},False" for n in (1, 4) for kv in (32, 64)]  # fmt: skip
    (folder / "attention.csv").write_text("\n".join([HEADER, *attention]))
    return tmp_path


def cost(root, kind, layer, values, **attributes):
    model = Profiled({"bundle": str(root), "format": "v0"})
    model.declare([Template(0, kind, layer, {**COMMON, **attributes})])
    done = model.advance(MAX_PS, [Operation(0, values, 0)]).completions[0]
    return done.finish_ps - done.start_ps, done.provenance


def test_a_layer_is_the_sum_of_its_parts(root):
    """q, k and v at one token: 300+1, 400+1, 500+1 ns."""
    assert cost(root, "gemm", "qkv_proj", (1,), n=1, k=1) == (1_203_000, Provenance.MEASURED)
    assert cost(root, "norm", "layernorm", (10,), width=1) == ((210 + 810) * 500, Provenance.MEASURED)


def test_a_mixed_batch_is_the_prompt_and_then_the_decodes(root):
    both = cost(root, "attention", "attention", (4, 4 * 64, 64, 64, 32, 32), **SHAPE)
    assert both == (2_000_000 + 256_000, Provenance.MEASURED)


def test_beyond_the_longest_chunk_work_counts(root):
    """128 fresh tokens have four times the (query, key) pairs of 64."""
    assert cost(root, "attention", "attention", (0, 0, 0, 0, 128, 0), **SHAPE) == (12_000_000, Provenance.EXTRAPOLATED)


def test_the_sampler_was_not_measured_and_says_so(root):
    assert cost(root, "sampler", "sampler", (3,), width=1) == (0, Provenance.MODELLED)


def test_what_is_not_there_is_named(root):
    with pytest.raises(ConfigError, match=r"has no profile of you/yours; it has \['me/mine'\]"):
        cost(root, "gemm", "o_proj", (1,), n=1, k=1, model="you/yours")
    with pytest.raises(ConfigError, match=r"no tensor-parallel degree 2; it has \[1\]"):
        cost(root, "gemm", "o_proj", (1,), n=1, k=1, tp=2)
    with pytest.raises(UnsupportedOperation, match="no rows of experts"):
        cost(root, "moe", "moe", (1, 1), hidden=1, intermediate=1, experts=4, top_k=2)

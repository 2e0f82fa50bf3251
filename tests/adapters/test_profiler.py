"""A plan measured on this machine's CPU becomes a bundle that `profiled` reads; what was measured is not again."""

from __future__ import annotations

import json

import metronome
import pytest
import yaml
from metronome.adapters.profiler import bundle, collectives
from metronome.adapters.profiler.journal import Journal
from metronome.adapters.profiler.points import Limits, distinct, of, powers
from metronome.hwmodels.interface import ConfigError, Template
from metronome.hwmodels.network.alpha_beta import ring

MODEL = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "torch_dtype": "float32",
}
SCENARIO = {
    "name": "tiny",
    "workload": {
        "format": "synthetic",
        "num_requests": 5,
        "request_rate": 10,
        "input_tokens": {"mean": 8, "max": 16},
        "output_tokens": {"mean": 4, "max": 8},
    },
    "cluster": {
        "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 2}}],
        "networks": [{"name": "link0", "connects": ["n0.accelerators"], "bandwidth_gb_s": 10, "latency_ns": 1000}],
    },
    "instances": [
        {
            "name": "a",
            "model": "tiny.json",
            "accelerators": "n0[0:2]",
            "tensor_parallel_size": 2,
            "engine": {"max_num_seqs": 2, "max_num_batched_tokens": 16, "max_model_len": 32},
        }
    ],
}
GEMM = Template(0, "gemm", "qkv_proj", {"model": "m", "tp": 1, "dtype": "bf16", "n": 8, "k": 8})


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps(MODEL))
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(SCENARIO))
    return path


def test_a_profile_of_this_cpu_is_simulated_with(tiny, cli, tmp_path):
    pytest.importorskip("torch", reason="needs PyTorch: pip install '.[profile]'")
    out = tmp_path / "bundle"
    done = cli("profile", tiny, "-o", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "links as rings: bandwidth_gb_s" in done.output
    component = {"model": "profiled", "bundle": str(out)}
    result = metronome.run(tiny, overrides={"components": {"n0.accelerators": component}})
    answers = result["metronome"]["components"]["n0.accelerators"]["provenance"]
    assert answers["measured"] > 0 and "modelled" not in answers
    assert {kind for kind, ranks, _, time in collectives.read(out / collectives.NAME) if ranks == 2 and time > 0}
    # stopped in the middle of a line, and gone on with: the rest is kept as it was
    journal = out / "tp2" / "measured.csv"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-3]) + "sampler,,1")
    again = cli("profile", tiny, "-o", out, "--device", "cpu")
    assert "3 points measured" in again.output
    assert journal.read_text().splitlines(keepends=True)[:-3] == lines[:-3]


def test_without_pytorch_it_says_what_to_install(tiny, cli, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    done = cli("profile", tiny, "-o", tmp_path / "bundle", "--device", "cpu")
    assert done.exit_code == 2 and "pip install 'metronome-cosim[profile]'" in done.output


def test_points_reach_from_one_to_the_limits():
    assert powers(48) == [1, 2, 4, 8, 16, 32, 48]
    assert [point.values for point in of(GEMM, Limits(5, 2, 64))] == [(1,), (2,), (4,), (5,)]
    head = Template(1, "gemm", "lm_head", GEMM.attributes)
    assert [point.values for point in of(head, Limits(5, 2, 64))] == [(1,), (2,)]
    moe = Template(2, "moe", "moe", {"experts": 8, "top_k": 2, "dtype": "bf16"})
    assert all(active <= 2 * tokens for _, _, (tokens, active) in of(moe, Limits(16, 2, 64)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "fp8"}, "fp8"),
        ({"weight_dtype": "int4"}, "weights of another type"),
        ({"kv_dtype": "fp8"}, "K and V fp8"),
    ],
)
def test_what_is_not_measured_is_refused_by_name(change, said):
    with pytest.raises(ConfigError, match=said):
        distinct([Template(0, "gemm", "qkv_proj", {**GEMM.attributes, **change})])


def test_a_layer_of_two_shapes_is_refused():
    with pytest.raises(ConfigError, match="two shapes"):
        distinct([GEMM, Template(1, "gemm", "qkv_proj", {**GEMM.attributes, "n": 16})])


def test_another_devices_bundle_is_not_mixed_with(tmp_path):
    facts = {"model": "m", "variant": "bf16", "hardware": "one", "torch_version": "2"}
    bundle.open_bundle(tmp_path, facts)
    bundle.open_bundle(tmp_path, facts)
    with pytest.raises(ConfigError, match="measure into another folder"):
        bundle.open_bundle(tmp_path, facts | {"hardware": "other"})


def test_what_memory_did_not_hold_is_kept_and_left_out_of_the_tables(tmp_path):
    journal = Journal(tmp_path / "tp1")
    journal.add(("qkv_proj", "", "1"), 2.5)
    journal.add(("qkv_proj", "", "2"), None)
    assert Journal(tmp_path / "tp1").times == journal.times
    bundle.write(tmp_path, 1, [GEMM], journal.times)
    assert (tmp_path / "tp1/dense.csv").read_text() == "layer,tokens,time_us\nqkv_proj,1,2.5\n"


def test_a_link_is_found_from_the_times_that_it_makes():
    rows = []
    for kind in ("all_reduce", "all_gather"):
        for size in (1 << 10, 1 << 16, 1 << 22):
            hops, part = ring(kind, 4, size)
            rows.append((kind, 4, size, hops * (1500 + part / 50) / 1e3))  # 50 GB/s are 50 bytes a ns
    assert collectives.link(rows) == (pytest.approx(50), pytest.approx(1500))

"""The older profile format, on a profile small enough to check by hand."""

from __future__ import annotations

import pytest
from metronome.hwmodels.accelerator.profiled import Profiled
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Provenance, Template, UnsupportedOperation

COMMON = {"model": "me/mine", "tp": 1, "dtype": "fp16"}
LAYERS = (
    "embedding",
    "input_layernorm",
    "q_proj",
    "k_proj",
    "v_proj",
    "rope",
    "o_proj",
    "post_layernorm",
    "gate_proj",
    "up_proj",
    "act_fn",
    "down_proj",
    "final_layernorm",
    "lm_head",
)
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
        f"{ms},,1,{chunk},{kv},True"
        for chunk, kv, ms in ((32, 32, 0.001), (32, 64, 0.002), (64, 64, 0.003), (64, 128, 0.005))
    ] + [
        f",{(1000 * n + together) / 1e6},{n},0,{together},False"
        for n in (1, 2, 4)
        for together in (2, 32, 64, 128)
        if n < 4 or together < 128
    ]
    (folder / "attention.csv").write_text("\n".join([HEADER, *attention]))
    return tmp_path


def cost(root, kind, layer, values, beside=(), flash_attention=2, **attributes):
    """(ps, provenance) of an operation of a model that has the templates ``beside`` it too."""
    model = Profiled({"bundle": str(root), "format": "v0", "flash_attention": flash_attention})
    others = [Template(1 + i, *kind_layer, {**COMMON, **more}) for i, (*kind_layer, more) in enumerate(beside)]
    model.declare([Template(0, kind, layer, {**COMMON, **attributes}), *others])
    done = model.advance(MAX_PS, [Operation(0, values, 0)]).completions[0]
    return done.finish_ps - done.start_ps, done.provenance


ATTENTION = ("attention", "attention", SHAPE)
ACTIVATION = ("elementwise", "act_fn", {"width": 30})


def test_a_layer_is_the_sum_of_its_parts(root):
    """q, k and v at one token: 300+1, 400+1, 500+1 ns."""
    assert cost(root, "gemm", "qkv_proj", (1,), n=1, k=1) == (1_203_000, Provenance.MEASURED)
    assert cost(root, "norm", "layernorm", (10,), width=1) == ((210 + 810) * 500, Provenance.MEASURED)


def test_q_k_and_v_are_one_product_and_start_once(tmp_path, root):
    """Of two heads a KV head, k half as wide as q: 300 ns and 180 ns are 60 ns and 120 ns a width; two starts less."""
    path = root / "me/mine/tp1/layers.csv"
    changed = path.read_text().replace("q_proj,1,0,1,301", "q_proj,1,0,1,300")
    changed = changed.replace("k_proj,1,0,1,401", "k_proj,1,0,1,180").replace("v_proj,1,0,1,501", "v_proj,1,0,1,180")
    path.write_text(changed)
    assert cost(root, "gemm", "qkv_proj", (1,), [ATTENTION], n=1, k=1) == (540_000, Provenance.MODELLED)
    assert cost(root, "gemm", "o_proj", (1,), [ATTENTION], n=1, k=1) == (701_000, Provenance.MEASURED)


def test_an_elementwise_layer_measured_in_pieces_is_one_kernel(root):
    """The activation reads and writes 30 elements a token in 1101 ns; a layer of 60 is one of two tokens'."""
    layers = root / "me/mine/tp1/layers.csv"
    layers.write_text(layers.read_text().replace("rope,1,0,1,601", "rope,1,0,1,9000"))
    assert cost(root, "elementwise", "rotary_emb", (1,), [ACTIVATION], width=60) == (1_102_000, Provenance.MODELLED)
    assert cost(root, "elementwise", "rotary_emb", (1,), width=60) == (9_000_000, Provenance.MEASURED)
    quick = cost(root, "norm", "layernorm", (10,), [ACTIVATION], width=60)
    assert quick == ((210 + 810) * 500, Provenance.MEASURED)  # quicker already


@pytest.mark.parametrize("routing", [{}, {"routing_kernels": 21}])
def test_experts_are_chosen_sorted_and_summed_by_kernels_of_their_own(root, routing):
    """At one token: gate 2000 ns; two experts of 3 products and an activation; the activation of one token,
    1101 ns, once to choose and twice to sort; the sum of 2 results of 40 elements, as one that moves 120 elements:
    the activation of four tokens, which is 30 wide."""
    layers = root / "me/mine/tp1/layers.csv"
    rows = [
        f"{layer},{n},0,1,{2000 + n - 1}" for layer in ("gate", "expert.w1", "expert.w3", "expert.w2") for n in (1, 10)
    ]
    layers.write_text("\n".join([layers.read_text(), *rows]))
    shape = {"hidden": 40, "intermediate": 10, "experts": 4, "top_k": 2, **routing}
    took, how = cost(root, "moe", "moe", (1, 2), **shape)
    chosen = routing.get("routing_kernels", 1)
    assert took == 1000 * (2000 + 2 * (3 * 2000 + 1101) + (chosen + 2) * 1101 + 1104)
    assert how is Provenance.MODELLED


def test_decodes_are_measured_by_their_context_together(root):
    """Two decodes of 64 tokens are the row of 2 and 128; four of none computed nothing and say nothing."""
    alone = {"heads": 2, "kv_heads": 2, "head_size": 8, "kv_dtype": "fp16"}
    assert cost(root, "attention", "attention", (2, 128, 64, 64), **alone) == (2_128_000, Provenance.MEASURED)
    assert cost(root, "attention", "attention", (4, 64, 16, 16), **alone) == (4_064_000, Provenance.MEASURED)
    # 16 tokens is the longest context of all rows; 8 decodes of it are on the line of the rows, 1000 n + 16 n
    assert cost(root, "attention", "attention", (8, 128, 16, 16), **alone) == (8_128_000, Provenance.EXTRAPOLATED)
    # Only the row of one has 128; more of them are in proportion.
    assert cost(root, "attention", "attention", (2, 256, 128, 128), **alone) == (2_256_000, Provenance.EXTRAPOLATED)


def test_a_kv_heads_query_heads_are_computed_together_but_for_a_sliding_window(root):
    packed = cost(root, "attention", "attention", (4, 4 * 32, 32, 32), **SHAPE)
    assert packed == (pytest.approx(2_064_000, abs=1), Provenance.MEASURED)  # two heads together: as two decodes
    windowed = cost(root, "attention", "attention", (4, 4 * 16, 16, 16), **SHAPE, sliding_window=2047)
    assert windowed == (4_064_000, Provenance.MEASURED)


def test_a_mixed_batch_is_the_prompt_and_then_the_decodes(root):
    """Beside a prompt FlashAttention 2 has a block for each query head, 3 keeps two heads of a KV head together."""
    batch = (4, 4 * 16, 16, 16, 32, 32)
    assert cost(root, "attention", "attention", batch, **SHAPE) == (2_000_000 + 4_064_000, Provenance.MEASURED)
    hopper = cost(root, "attention", "attention", batch, flash_attention=3, **SHAPE)
    assert hopper == (pytest.approx(2_000_000 + 2_032_000, abs=1), Provenance.MEASURED)


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


def test_experts_of_a_tensor_parallel_group_are_slices_of_the_whole_ones_that_were_measured(root):
    """Rows of experts are of whole ones in every tp folder; a rank computes 1/tp of each, the gate is not cut."""
    import shutil

    rows = "\n".join(
        f"{layer},{n},0,1,{(2 if layer == 'gate' else 500) * 1000}"
        for layer in ("gate", "expert.w1", "expert.w3", "expert.w2")
        for n in (1, 10)
    )
    path = root / "me/mine/tp1/layers.csv"
    path.write_text(path.read_text() + "\n" + rows)
    shutil.copytree(root / "me/mine/tp1", root / "me/mine/tp4")
    shape = {"hidden": 40, "intermediate": 10, "experts": 4, "top_k": 2}
    whole, _ = cost(root, "moe", "moe", (1, 2), **shape)
    sliced, how = cost(root, "moe", "moe", (1, 2), tp=4, **shape)
    spread, _ = cost(root, "moe", "moe", (1, 2), tp=4, expert_ranks=4, **shape)
    experts = 2 * (3 * 500_000_000 + 1_101_000)  # two active, the activation of one token beside
    start = 30_000_000
    assert whole - sliced == pytest.approx(experts - (start + (experts - start) / 4), abs=2)
    assert how is Provenance.MODELLED and spread == whole

"""Public configs: which are served, how large their checkpoints are, what they keep of a token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.lowering.builder import Hardware
from metronome.orchestrator.lowering.layout import Layout
from metronome.orchestrator.lowering.models.load import read
from metronome.orchestrator.lowering.models.parts import Attention, State
from metronome.orchestrator.lowering.plan import lower
from metronome.orchestrator.lowering.work import Templates
from metronome.orchestrator.serving.batch import Batch

#: Fields of the config.json files that aiconfigurator-core 0.12.0 ships (Apache-2.0), with long exclusion lists cut.
CONFIGS = json.loads((Path(__file__).parent / "configs.json").read_text())
#: Checkpoints whose size was published, with where.
CHECKPOINTS = json.loads((Path(__file__).parent / "checkpoints.json").read_text())
HARDWARE = Hardware(lambda devices: "net", [])


def architecture(name, **changes):
    config = {**CONFIGS[name], **changes}
    return read(name, name, config, config.pop("hf_quant_config", None))


def plan_of(arch, tp=1):
    return lower("i", arch, Layout(tuple(("n0", i) for i in range(tp)), 1, 1, tp), "bf16", Templates(), HARDWARE)


def operations(plan):
    return [(s.repeat, op.works[0]) for s in plan.sections for op in s.operations]


def llama(**changes):
    base = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "max_position_embeddings": 512,
    }
    return read("m", "m", {**base, **changes})


@pytest.mark.parametrize("name", CONFIGS)
def test_a_public_config_is_served_and_its_operations_read_its_weights(name):
    """What the plan's matrices add up to is what the memory holds, less norms, embeddings and the like."""
    arch = architecture(name)
    tp = 4 if all(heads % 4 == 0 for heads in arch.heads) else 1
    found = operations(plan_of(arch, tp))
    Roofline({"device": "b200"}).declare(
        [work.template for _, work in found if work.component.endswith("accelerators")]
    )
    read_bytes = 0.0
    for repeat, work in found:
        at = work.template.attributes
        size = {
            "gemm": lambda at=at: at["n"] * at["k"],
            "moe": lambda at=at: (
                at["experts"] * at["hidden"] * at["intermediate"] * (3 if at.get("gated", True) else 2)
            ),
        }.get(work.template.kind, lambda: 0)()
        read_bytes += repeat * size * at.get("weight_bits", 16) / 8
    ends = 2 * (1 if arch.tied else 2) * (arch.vocab // tp) * arch.hidden
    head = 2 * (arch.vocab // tp) * arch.hidden
    held = arch.weight_bytes(tp) - ends - 2 * (arch.encoder + arch.per_layer_embedding) // tp
    # KV heads are repeated on the ranks beyond them, and where K is V there is one matrix more in the operations.
    assert read_bytes - head == pytest.approx(held, rel=0.03)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_sizes_of_published_checkpoints(name):
    case = CHECKPOINTS[name]
    arch = read(name, name, case["config"])
    assert arch.weight_bytes(1) == pytest.approx(case["bytes"], rel=0.01)
    assert arch.kv_bytes_per_token(1, "bf16") == case["kv"]


def test_all_but_two_published_sizes_are_met_to_the_byte():
    exact = [n for n, c in CHECKPOINTS.items() if read(n, n, c["config"]).weight_bytes(1) == c["bytes"]]
    assert len(exact) == len(CHECKPOINTS) - 2  # the image encoder of Gemma 3, fp8 scales of DeepSeek-V3


#: Parameters that the shapes of the checkpoints come to, counted by hand; fields as their config.json files call them.
COUNTED = {
    "opt-125m": (
        125_239_296,
        {
            "model_type": "opt",
            "hidden_size": 768,
            "ffn_dim": 3072,
            "intermediate_size": None,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "vocab_size": 50272,
            "max_position_embeddings": 2048,
        },
    ),
    "gpt2": (
        124_439_808,
        {
            "model_type": "gpt2",
            "n_embd": 768,
            "n_layer": 12,
            "n_head": 12,
            "vocab_size": 50257,
            "n_positions": 1024,
            "max_position_embeddings": None,
        },
    ),
    "pythia-6.9b": (
        6_857_302_016,
        {
            "model_type": "gpt_neox",
            "hidden_size": 4096,
            "intermediate_size": 16384,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "vocab_size": 50432,
        },
    ),
    "bloom-7b1": (
        7_069_016_064,
        {
            "model_type": "bloom",
            "n_embed": 4096,
            "n_layer": 30,
            "n_head": 32,
            "hidden_size": None,
            "num_hidden_layers": None,
            "num_attention_heads": None,
            "vocab_size": 250880,
        },
    ),
    "falcon-7b": (
        6_921_720_704,
        {
            "model_type": "falcon",
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "vocab_size": 65024,
            "multi_query": True,
            "parallel_attn": True,
        },
    ),
    "falcon-40b": (
        41_303_293_952,
        {
            "model_type": "falcon",
            "hidden_size": 8192,
            "num_hidden_layers": 60,
            "num_attention_heads": 128,
            "num_kv_heads": 8,
            "vocab_size": 65024,
            "new_decoder_architecture": True,
        },
    ),
    "mpt-7b": (
        6_649_286_656,
        {
            "model_type": "mpt",
            "d_model": 4096,
            "n_heads": 32,
            "n_layers": 32,
            "vocab_size": 50432,
            "max_seq_len": 2048,
            "max_position_embeddings": None,
        },
    ),
    "chatglm3-6b": (
        6_243_584_000,
        {
            "model_type": "chatglm",
            "hidden_size": 4096,
            "ffn_hidden_size": 13696,
            "num_layers": 28,
            "num_attention_heads": 32,
            "multi_query_attention": True,
            "multi_query_group_num": 2,
            "kv_channels": 128,
            "padded_vocab_size": 65024,
            "add_qkv_bias": True,
        },
    ),
    "Qwen-7B": (
        7_721_324_544,
        {
            "model_type": "qwen",
            "hidden_size": 4096,
            "intermediate_size": 22016,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "vocab_size": 151936,
        },
    ),
    "internlm2-7b": (
        7_737_708_544,
        {
            "model_type": "internlm2",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 92544,
        },
    ),
    "stablelm-3b-4e1t": (
        2_795_443_200,
        {
            "model_type": "stablelm",
            "hidden_size": 2560,
            "intermediate_size": 6912,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "vocab_size": 50304,
        },
    ),
    "deepseek-moe-16b": (
        16_375_728_128,
        {
            "model_type": "deepseek",
            "hidden_size": 2048,
            "intermediate_size": 10944,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "vocab_size": 102400,
            "n_routed_experts": 64,
            "n_shared_experts": 2,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1408,
            "first_k_dense_replace": 1,
        },
    ),
    "ERNIE-4.5-21B-A3B": (
        21_825_437_888,
        {
            "model_type": "ernie4_5_moe",
            "hidden_size": 2560,
            "intermediate_size": 12288,
            "num_hidden_layers": 28,
            "num_attention_heads": 20,
            "num_key_value_heads": 4,
            "vocab_size": 103424,
            "moe_num_experts": 64,
            "moe_num_shared_experts": 2,
            "moe_k": 6,
            "moe_intermediate_size": 1536,
            "moe_layer_start_index": 1,
        },
    ),
    "Apertus-8B": (
        8_053_338_112,
        {
            "model_type": "apertus",
            "hidden_size": 4096,
            "intermediate_size": 21504,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "vocab_size": 131072,
            "hidden_act": "xielu",
        },
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_families_with_fields_of_their_own_come_to_their_size(name):
    parameters, config = COUNTED[name]
    assert llama(**config).weight_bytes(1) == 2 * parameters


@pytest.mark.parametrize(
    ("change", "longest", "usual"),
    [
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, 512, 512),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 1024, 1024),
        ({"rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 128}}, 512, 512),
        ({"rope_parameters": {"full_attention": {"rope_type": "dynamic", "factor": 2}}}, 1024, 1024),
        ({"rope_scaling": {"type": "longrope"}, "original_max_position_embeddings": 64}, 512, 64),
        ({"model_type": "gemma3_text", "rope_scaling": {"rope_type": "linear", "factor": 8}}, 512, 512),
        ({"model_max_length": 2048}, 2048, 2048),
        ({"seq_length": 256}, 256, 256),
        ({"max_position_embeddings": None}, 2048, 2048),
    ],
)
def test_the_longest_sequence_is_found_as_vllm_finds_it(change, longest, usual):
    arch = llama(**change)
    assert (arch.max_positions, arch.usual_positions) == (longest, usual)


def test_latent_vectors_are_whole_on_every_rank():
    arch = architecture("deepseek-ai/DeepSeek-V3")
    assert arch.kv_bytes_per_token(1, "bf16") == arch.kv_bytes_per_token(8, "bf16") == 61 * (512 + 64) * 2


@pytest.mark.parametrize("kind", ["bert", "t5", "whisper", "rwkv"])
def test_what_is_no_decoder_is_refused_whatever_its_fields(kind):
    with pytest.raises(InputError, match=f"model_type = '{kind}': is no decoder with attention alone"):
        llama(model_type=kind)


def test_an_unknown_family_of_plain_fields_is_served_with_a_warning():
    arch = llama(model_type="llame")
    assert arch.weight_bytes(1) == llama().weight_bytes(1)
    assert "'llame' is not known; did you mean 'llama'?" in arch.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "brand_new", "num_local_experts": 8}, "num_local_experts"),
        ({"model_type": "brand_new", "ssm_state_size": 8}, "ssm_state_size"),
        ({"model_type": "brand_new", "layer_types": ["other_attention"] * 4}, "layer_types = 'other_attention'"),
        ({"model_type": "mllama"}, "cross attention"),
        ({"model_type": None}, "model_type: is missing"),
        ({"model_type": "brand_new", "moe_num_experts": 8}, "moe_num_experts"),
        ({"model_type": "brand_new", "block_types": ["recurrent"]}, "block_types"),
        ({"model_type": "brand_new", "hidden_act": "gelu"}, "hidden_act = 'gelu': does not say whether the MLP"),
        (
            {"model_type": "brand_new", "hidden_size": None},
            "model_type = 'brand_new': is not known and has no hidden_size",
        ),
        ({"layer_types": ["linear_attention"] * 4}, "layer_types.0 = 'linear_attention'"),
        ({"model_type": "qwen3", "layer_types": ["linear_attention"] * 4}, "layer_types.0 = 'linear_attention'"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000: must be at most"),
        ({"rope_scaling": {"type": "linear", "factor": float("nan")}}, "rope_scaling.factor = nan"),
        ({"rope_scaling": {"type": "linear", "factor": -2}}, "rope_scaling.factor = -2"),
        ({"torch_dtype": ["bfloat16"]}, "torch_dtype = .'bfloat16'.: one of"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": 4}, "hybrid_override_pattern = 4: must be a letter"),
        (
            {"model_type": "nemotron-nas", "block_configs": [3] * 4},
            "model_type = 'nemotron-nas': has a field that is not",
        ),
        (
            {"model_type": "qwen3_moe", "num_experts": 8, "mlp_only_layers": "x"},
            "mlp_only_layers = 'x': must be a list",
        ),
        ({"rope_scaling": "linear"}, "rope_scaling = 'linear': must be a mapping"),
        ({"model_type": "opt", "word_embed_proj_dim": 8}, "word_embed_proj_dim = 8"),
        ({"layer_types": ["full_attention"]}, "layer_types.*one entry for each of 4 layers"),
        ({"quantization_config": {"quant_method": "aqlm"}}, "quant_method = 'aqlm'"),
        ({"quantization_config": {"quant_method": "awq", "bits": 3}}, "bits = 3"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NEW"}}, "quant_algo = 'NEW'"),
    ],
)
def test_what_is_not_served_is_refused_with_its_field(change, message):
    with pytest.raises(InputError, match=message):
        llama(**change)


def test_tied_embeddings_are_one_matrix_on_a_device_that_has_both_ends():
    tied, loose = llama(tie_word_embeddings=True), llama()
    matrix = 2 * 100 * 64
    assert loose.weight_bytes(1) - tied.weight_bytes(1) == matrix
    assert tied.weight_bytes(1, layers=range(2), ends=1) == loose.weight_bytes(1, layers=range(2), ends=1)


def test_biases_are_counted():
    more = llama(attention_bias=True, mlp_bias=True).weight_bytes(1) - llama().weight_bytes(1)
    assert more == 2 * 4 * (4 * 64 + 2 * 128 + 64)


def test_no_shared_expert_is_zero_wide():
    arch = architecture("Qwen/Qwen3-Coder-480B-A35B-Instruct", shared_expert_intermediate_size=0)
    assert arch.routed.shared is None


def test_windows_of_every_other_layer_are_one_section():
    arch = architecture("openai/gpt-oss-120b")
    spans = [block.mixer.window for block in arch.blocks]
    assert spans == [128, 0] * 18
    assert [(s.repeat, s.layers) for s in plan_of(arch).sections if s.layers] == [(18, 2)]


def attention_values(arch, batch):
    works = [work for _, work in operations(plan_of(arch)) if work.template.layer == "attention"]
    return [work.operands.of(batch)[:4] for work in works]


@pytest.mark.parametrize(
    ("contexts", "seen"),
    [
        ((40, 50), (2, 90, 50, 40)),  # shorter than the window: all
        ((1000, 3000), (2, 2 * 127, 127, 127)),  # longer: the window, less the token itself
    ],
)
def test_decodes_see_their_window(contexts, seen):
    batch = Batch((), 2, sum(contexts), max(contexts), min(contexts))
    windowed, full = attention_values(architecture("openai/gpt-oss-20b"), batch)
    assert windowed == seen
    assert full == (2, sum(contexts), max(contexts), min(contexts))


def test_decodes_around_the_window_see_something_between():
    batch = Batch((), 4, 4 * 150, 250, 50)
    (_, total, high, low), _ = attention_values(architecture("openai/gpt-oss-20b"), batch)
    exact = [min(c, 127) for c in (50, 125, 175, 250)]
    assert (high, low) == (127, 50)
    assert sum(exact) * 0.8 < total < sum(exact) * 1.2


def test_chunks_begin_anew():
    arch = architecture("meta-llama/Llama-4-Scout-17B-16E-Instruct")
    chunked = [block.mixer.chunk for block in arch.blocks]
    assert chunked == [8192, 8192, 8192, 0] * 12
    values = attention_values(arch, Batch((), 1, 20000, 20000, 20000))
    assert values[0] == (1, 4096, 8191, 8191) and values[3] == (1, 20000, 20000, 20000)


def test_states_instead_of_keys_and_values():
    arch = architecture("Qwen/Qwen3.5-27B")
    states = [block.mixer for block in arch.blocks if isinstance(block.mixer, State)]
    assert len(states) == 48 and sum(isinstance(block.mixer, Attention) for block in arch.blocks) == 16
    assert arch.kv_bytes_per_token(1, "bf16") == 16 * 2 * 4 * 256 * 2
    one = 48 * 128 * 128 * 4 + (2 * 16 * 128 + 48 * 128) * 3 * 2  # fp32 state, last three inputs of the convolution
    assert arch.state_bytes(1) == 48 * one


def test_sparse_attention_attends_to_what_its_index_chooses_and_keeps_all():
    arch = architecture("deepseek-ai/DeepSeek-V3.2")
    assert arch.kv_bytes_per_token(1, "bf16") == 61 * ((512 + 64) * 2 + 128 + 4)
    works = {work.template.layer: work for _, work in operations(plan_of(arch))}
    batch = Batch((), 1, 50000, 50000, 50000)
    assert works["attention"].operands.of(batch) == (1, 2047, 2047, 2047)
    assert works["index_scores"].operands.of(batch)[1] == 50000


def test_a_model_that_refuses_what_it_has_no_figures_for():
    from metronome.hwmodels.accelerator.systolic import Systolic
    from metronome.hwmodels.interface import UnsupportedOperation

    works = [w.template for _, w in operations(plan_of(architecture("Qwen/Qwen3-32B-FP8")))]
    with pytest.raises(UnsupportedOperation, match="weights of another type"):
        Systolic({}).declare(works)

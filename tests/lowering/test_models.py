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
    held = arch.weight_bytes(tp) - ends - 2 * (arch.encoder + arch.per_layer_embedding // tp)
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


def test_latent_vectors_are_whole_on_every_rank():
    arch = architecture("deepseek-ai/DeepSeek-V3")
    assert arch.kv_bytes_per_token(1, "bf16") == arch.kv_bytes_per_token(8, "bf16") == 61 * (512 + 64) * 2


def test_an_unknown_family_of_plain_fields_is_served_with_a_warning():
    arch = llama(model_type="brand_new")
    assert arch.weight_bytes(1) == llama().weight_bytes(1)
    assert "'brand_new' is not known" in arch.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "brand_new", "num_local_experts": 8}, "num_local_experts"),
        ({"model_type": "brand_new", "ssm_state_size": 8}, "ssm_state_size"),
        ({"model_type": "brand_new", "layer_types": ["other_attention"] * 4}, "layer_types = 'other_attention'"),
        ({"model_type": "mllama"}, "cross attention"),
        ({"model_type": None}, "model_type: is missing"),
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

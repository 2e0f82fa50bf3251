"""What vLLM's profile run finds in use, held to startup logs."""

import json
from pathlib import Path

import pytest
from metronome.orchestrator.lowering.layout import Layout
from metronome.orchestrator.lowering.models.load import read
from metronome.orchestrator.serving.engines import costs_of
from metronome.orchestrator.serving.kv.profile_run import Demand, ProfileRun
from metronome.orchestrator.working_memory import demand

CONFIGS = json.loads((Path(__file__).parent / "lowering" / "configs.json").read_text())
GIB = 2**30


def llama(hidden, width, layers, heads, kv_heads, vocab, **more):
    return {
        "model_type": "llama", "hidden_size": hidden, "intermediate_size": width, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocab,
        "max_position_embeddings": 32768, "torch_dtype": "bfloat16", **more,
    }  # fmt: skip


QWEN_7B = llama(3584, 18944, 28, 28, 4, 152064)
#: (config, TP, "torch peak memory increase" in GiB) of vLLM 0.19.0 on H100s, 8192 tokens and 1024 sequences a batch:
#: llm-d-incubation/llm-d-planner, capacity planner accuracy report (values of the report, or what its errors imply)
PEAKS = {
    "Llama-3.1-8B": (CONFIGS["meta-llama/Meta-Llama-3.1-8B"], 1, 1.89),
    "Llama-3.1-8B, TP 4": (CONFIGS["meta-llama/Meta-Llama-3.1-8B"], 4, 1.89),
    "Qwen2.5-7B": (QWEN_7B, 1, 2.21),
    "Qwen2.5-72B, TP 2": (llama(8192, 29568, 80, 64, 8, 152064), 2, 2.29),
    "Qwen3-8B": (CONFIGS["Qwen/Qwen3-8B"], 1, 2.21),
    "phi-4": (llama(5120, 17920, 40, 40, 10, 100352), 1, 1.52),
    "granite-3.1-8b": (llama(4096, 12800, 40, 32, 8, 49155), 1, 0.85),  # the layers' peak, not the sampler's
    "CodeLlama-7b": (llama(4096, 11008, 32, 32, 32, 32016), 1, 0.77),  # likewise
    "gemma-2-27b": (llama(4608, 36864, 46, 32, 16, 256000), 1, 3.66),
    "Qwen3-30B-A3B": (CONFIGS["Qwen/Qwen3-30B-A3B"], 1, 2.68),  # experts' scratch stays
    "Mixtral-8x7B, TP 2": (CONFIGS["mistralai/Mixtral-8x7B-v0.1"], 2, 1.21),
    "gpt-oss-20b, TP 2": (CONFIGS["openai/gpt-oss-20b"], 2, 2.87),  # that of MXFP4 experts does not
}


@pytest.mark.parametrize("name", PEAKS)
def test_peaks_of_vllm_0_19(name):
    config, tp, peak = PEAKS[name]
    rule = costs_of("vllm-0.19", cold=False).profile_run
    arch = read(name, name, dict(config), None)
    of = demand(arch, Layout((("n", 0),) * tp, tp=tp), 8192, 1024, samples=True)
    found = rule.working_bytes(of, tp) - (rule.outside_in_group_bytes if tp > 1 else rule.outside_bytes)
    assert found / GIB == pytest.approx(peak, abs=0.02)


@pytest.mark.parametrize(("share", "blocks", "within"), [(0.5, 29_053, 0.004), (0.25, 5_867, 0.02)])
def test_blocks_of_two_logs_of_vllm_0_10(share, blocks, within):
    """Qwen2-7B on an A100 that reports 79.25 GiB (dennislee22/vLLM-benchmarking), 2048 tokens and 256 sequences."""
    arch = read("m", "m", {**QWEN_7B, "model_type": "qwen2"}, None)
    of = demand(arch, Layout((("n", 0),)), 2048, 256, samples=True)
    working = costs_of("vllm-0.11", cold=False).profile_run.working_bytes(of, 1)
    left = int(79.25 * GIB * share) - arch.weight_bytes(1) - working
    assert left // (16 * arch.kv_bytes_per_token(1, "bf16")) == pytest.approx(blocks, rel=within)


def test_a_stage_that_does_not_sample_works_in_what_its_layers_need():
    whole = Demand(8192, 1024, 4096, 128256, 2, layer=3 * 14336)
    without = Demand(8192, 1024, 4096, 0, 2, layer=3 * 14336)
    rule = ProfileRun()
    assert rule.working_bytes(without, 1) - rule.outside_bytes == 8192 * 2 * (3 * 14336 + 4 * 4096) + 2**25
    assert rule.working_bytes(without, 1) < rule.working_bytes(whole, 1)


def test_latent_vectors_are_unfolded_for_65536_tokens():
    arch = read("v3", "v3", CONFIGS["deepseek-ai/DeepSeek-V3"], None)
    of = demand(arch, Layout((("n", 0),) * 8, tp=8), 8192, 256, samples=False)
    assert of.unfolded == 65536 * (128 // 8) * (128 + 128) * 2

"""Groups of layers and block sizes, as vLLM 0.19 makes them of a model."""

import json
from pathlib import Path

import pytest
from metronome.adapters.tools import environment
from metronome.adapters.vllm import RealScheduler
from metronome.orchestrator.kv_layout import KvLayout
from metronome.orchestrator.lowering.models.load import read
from metronome.orchestrator.serving.kv.capacity import Kept
from metronome.orchestrator.serving.kv.groups import KvGroup

CONFIGS = json.loads((Path(__file__).parent / "lowering" / "configs.json").read_text())
#: Qwen3-Next-80B-A3B: 12 layers of attention, 36 of gated delta nets
NEXT = {
    "model_type": "qwen3_next",
    "hidden_size": 2048,
    "intermediate_size": 5120,
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "vocab_size": 151936,
    "max_position_embeddings": 262144,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
}


def layout(config, tp=1, grouped=True):
    config = dict(config)
    arch = read("m", "m", config, config.pop("hf_quant_config", None))
    return KvLayout(arch, tp, "bf16", grouped)


@pytest.mark.parametrize(("tp", "tokens"), [(1, 544), (4, 272)])
def test_blocks_of_a_model_with_states_are_so_long_that_a_state_is_a_page(tp, tokens):
    """A state is 32 x 128 x 128 numbers and 3 x 8192 of the convolution, 1,097,728 bytes; K and V of a token are 2,048
    bytes in a layer: 536 tokens, in steps of 16. With TP 4 the state is a quarter, and one of the two KV heads is kept."""
    made = layout(NEXT, tp)
    assert made.block_size(16) == tokens
    assert made.block_size(1024) == 1024
    assert [(kind.state, len(layers)) for kind, layers in made.groups] == [(True, 12)] * 3 + [(False, 12)]
    assert made.kept(range(48), 8192, True).token == 12 * 2048 * 2 // (2 if tp == 1 else 4)
    assert made.longest(8192, 2048, tokens) == -(-8192 // tokens) + 3


def test_latent_attention_beside_states_has_steps_of_64_tokens():
    kimi = {
        "model_type": "kimi_linear", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 4,
        "num_attention_heads": 32, "vocab_size": 163840, "max_position_embeddings": 1048576, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "num_experts": 256,
        "num_experts_per_token": 8, "moe_intermediate_size": 1024, "first_k_dense_replace": 1,
        "linear_attn_config": {"full_attn_layers": [4], "head_dim": 128, "num_heads": 32},
    }  # fmt: skip
    made = layout(kimi)
    # 32 x 128 x 128 numbers of 4 bytes and 3 x 3 x 4096 of 2: 2,170,880 bytes; 1,152 bytes a token: 1,885 tokens
    assert made.block_size(16) == 1920
    assert [(kind.state, len(layers)) for kind, layers in made.groups] == [(True, 1)] * 3 + [(False, 1)]


def test_one_table_where_an_engine_has_no_groups():
    made = layout(NEXT, grouped=False)
    assert made.groups == [] and made.block_size(16) == 16
    kept = made.kept(range(48), 8192, True)
    assert (kept.token, kept.state) == (12 * 2048, 36 * 1_097_728)


def test_windows_are_groups_and_plain_models_none():
    assert [kind for kind, _ in layout(CONFIGS["openai/gpt-oss-120b"]).groups] == [KvGroup(window=128), KvGroup()]
    assert layout(CONFIGS["Qwen/Qwen3-8B"]).groups == []


def test_the_longest_sequence_that_fits():
    plain, hybrid = layout(CONFIGS["Qwen/Qwen3-8B"]), layout(NEXT)
    assert plain.fitting(40960, 2048, 16, 100) == 1600
    assert plain.fitting(1000, 2048, 16, 100) == 1000
    assert hybrid.fitting(262144, 2048, 544, 13) == 5440  # three blocks for states


@pytest.mark.parametrize(("tp", "channels"), [(1, 8448), (2, 4352), (4, 2304)])
def test_ranks_beyond_the_groups_of_a_mamba_repeat_what_these_share(tp, channels):
    """Granite 4 small: 128 heads of 64 x 128, one group; of the convolution 8,192 channels are the heads' and 256 all's."""
    granite = {
        "model_type": "granitemoehybrid", "hidden_size": 4096, "num_hidden_layers": 2, "num_attention_heads": 32,
        "num_key_value_heads": 8, "vocab_size": 100352, "max_position_embeddings": 131072,
        "shared_intermediate_size": 1536, "mamba_n_heads": 128, "mamba_d_head": 64, "mamba_d_state": 128,
        "mamba_n_groups": 1, "layer_types": ["mamba", "attention"],
    }  # fmt: skip
    made = layout(granite, tp)
    state = 2 * (128 * 64 * 128 // tp + 3 * channels)
    assert made.arch.state_bytes(tp) == state
    page = 2 * 2 * 128 * 8 // tp
    assert made.block_size(16) == -(-state // (16 * page)) * 16


def test_blocks_of_layers_that_take_less_of_a_token_hold_more_tokens():
    """Gemma 4 26B: 25 layers with windows of 1,024 tokens keep 8,192 bytes of a token, five that keep all 4,096."""
    made = layout(CONFIGS["google/gemma-4-26B-A4B"])
    assert [(kind, len(layers)) for kind, layers in made.groups] == [
        *[(KvGroup(window=1024), 5)] * 5,
        (KvGroup(ratio=2), 5),
    ]
    assert made.kept(range(30), 8192, True) == Kept(5 * 8192)
    # of 32,000 tokens, 8,192 at once: windows hold 1,023 + 8,192 tokens on 577 blocks, the rest 32,000 on 1,000 of 32
    assert made.longest(32000, 8192, 16) == 5 * 577 + 1000


@pytest.mark.parametrize("name", ["google/gemma-4-26B-A4B", "nvidia/Gemma-4-31B-IT-NVFP4", "openai/gpt-oss-20b"])
def test_groups_are_those_that_vllm_makes(name):
    if not environment.installed("vllm@0.19.0"):
        pytest.skip("needs vLLM's scheduler: metronome tools install vllm@0.19.0")
    made = layout(CONFIGS[name])
    layers = [[of.kv_heads, of.head_size, of.window] for of in (block.mixer for block in made.arch.blocks)]
    theirs = RealScheduler("0.19.0").ask("groups", 16, layers)
    assert [[16 * kind.ratio, numbers] for kind, numbers in made.groups] == theirs


def test_pages_that_cannot_be_made_equal_are_set_aside():
    """Windows of 3 heads beside 2 that keep all: no whole number of one is the other; vLLM does not start."""
    mixed = {
        "model_type": "gemma4", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2,
        "num_attention_heads": 6, "num_key_value_heads": 3, "num_global_key_value_heads": 2, "head_dim": 64,
        "global_head_dim": 64, "vocab_size": 1000, "max_position_embeddings": 8192, "sliding_window": 128,
        "layer_types": ["sliding_attention", "full_attention"],
    }  # fmt: skip
    made = layout(mixed)
    assert made.groups == [] and made.kept(range(2), 8192, True).windows

import json

import pytest

from hwmodels.catalog import model_names
from hwmodels.interface import OPERATION_ATTRIBUTES, OPERATION_VALUES
from orchestrator.errors import InputError
from orchestrator.lowering.architecture import load
from orchestrator.lowering.plan import Role, Templates, lower
from orchestrator.serving.batch import Batch

BATCH = Batch((512, 0, 100, 64), 8, 8000, 2000, 500)


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("tp", [1, 2, 4])
def test_every_operation_carries_what_its_kind_asks_for(name, tp, tmp_path):
    plan = lower(load(name, tmp_path), tp, "bf16", Templates(), host_memory=True)
    for work in plan.works:
        kind = work.template.kind
        assert set(OPERATION_ATTRIBUTES[kind]) <= set(work.template.attributes), kind
        extra = 4 if kind == "attention" else 0
        assert len(work.size.of(BATCH)) == len(OPERATION_VALUES[kind]) + extra
    reduces = [work for work in plan.block if work.role is Role.NETWORK]
    assert len(reduces) == (2 if tp > 1 else 0)


@pytest.mark.parametrize(("name", "tp", "weights", "kv"), [
    ("meta-llama/Llama-3.1-8B", 1, 16_060_522_496, 131_072),
    ("Qwen/Qwen3-32B", 2, 32_762_767_360, 131_072),
])  # fmt: skip
def test_weights_and_kv_by_published_sums(name, tp, weights, kv, tmp_path):
    arch = load(name, tmp_path)
    assert (arch.weight_bytes(tp), arch.kv_bytes_per_token(tp, "bf16")) == (weights, kv)


def test_gemm_shapes_multiply_to_the_weights(tmp_path):
    """All matrices of the plan, over all ranks and layers, are the model's weights less norms and embedding."""
    arch = load("meta-llama/Llama-3.1-70B", tmp_path)
    for tp in (1, 2, 8):
        plan = lower(arch, tp, "bf16", Templates())

        def elements(works):
            return sum(
                w.template.attributes["n"] * w.template.attributes["k"] for w in works if w.template.kind == "gemm"
            )

        total = tp * (plan.layers * elements(plan.block) + elements(plan.epilogue))
        norms = arch.hidden * (2 * arch.layers + 1)
        assert 2 * (total + norms + arch.vocab * arch.hidden) == arch.weight_bytes(1)


def test_all_reduce_moves_one_activation_a_token(tmp_path):
    plan = lower(load("meta-llama/Llama-3.1-8B", tmp_path), 2, "bf16", Templates())
    reduce = next(work for work in plan.block if work.role is Role.NETWORK)
    assert reduce.size.of(BATCH) == ((512 + 100 + 8) * 4096 * 2,)
    assert reduce.template.attributes["participants"] == 2


def test_experts_hit_grow_to_all(tmp_path):
    plan = lower(load("mistralai/Mixtral-8x7B-v0.1", tmp_path), 1, "bf16", Templates())
    moe = next(work for work in plan.block if work.template.kind == "moe")
    hit = [moe.size.of(Batch((), n, 0, 0, 0))[1] for n in (1, 2, 4, 64)]
    assert hit == [2, 4, 5, 8]  # 2 of 8 a token: 8 (1 - 0.75^n), rounded


def test_instances_of_one_model_share_templates(tmp_path):
    templates, arch = Templates(), load("Qwen/Qwen3-32B", tmp_path)
    assert lower(arch, 2, "bf16", templates).works[0].template is lower(arch, 2, "bf16", templates).works[0].template


def config(**changes):
    base = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512}  # fmt: skip
    return {**base, **changes}


def test_a_config_json_of_ones_own(tmp_path):
    path = tmp_path / "me" / "mine"
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config()))
    arch = load("me/mine", tmp_path)
    assert (arch.name, arch.kv_heads, arch.head_size, arch.dtype) == ("me/mine", 4, 16, "bf16")


@pytest.mark.parametrize(("change", "message"), [
    ({"model_type": "gpt2"}, "model_type = 'gpt2': one of llama"),
    ({"hidden_size": None}, "hidden_size: is missing"),
    ({"hidden_size": -1}, "hidden_size = -1: must be a positive"),
    ({"torch_dtype": "int3"}, "torch_dtype = 'int3'"),
    ({"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "mlp_only_layers": [0]}, "mlp_only_layers"),
])  # fmt: skip
def test_a_config_that_cannot_be_read_names_the_field(tmp_path, change, message):
    (tmp_path / "c.json").write_text(json.dumps(config(**change)))
    with pytest.raises(InputError, match=message):
        load("c.json", tmp_path)


def test_a_model_nobody_knows_names_those_there_are(tmp_path):
    with pytest.raises(InputError, match="Qwen/Qwen3-32B"):
        load("nobody/knows", tmp_path)

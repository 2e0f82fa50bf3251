import json
from pathlib import Path

import pytest
from metronome.hwmodels.catalog import model_names
from metronome.hwmodels.interface import OPERATION_ATTRIBUTES, OPERATION_VALUES
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.lowering.builder import Hardware
from metronome.orchestrator.lowering.layout import Layout
from metronome.orchestrator.lowering.models.load import load
from metronome.orchestrator.lowering.plan import lower
from metronome.orchestrator.lowering.work import Templates
from metronome.orchestrator.serving.batch import Batch, joined

HARDWARE = Hardware(lambda devices: "net", ["n0"])


def plan_of(arch, templates=None, **layout):
    ranks = layout.get("dp", 1) * layout.get("pp", 1) * layout.get("tp", 1)
    layout = Layout(tuple(("n0", i) for i in range(ranks)), **layout)
    return lower("chat", arch, layout, "bf16", templates or Templates(), HARDWARE)


def block(plan):
    return next(section for section in plan.sections if section.layers)


def moves(rows):
    return [row.works[0] for row in rows if "ranks" in row.works[0].template.attributes]


BATCH = Batch((512, 0, 100, 64), 8, 8000, 2000, 500)


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("tp", [1, 2, 4])
def test_every_operation_carries_what_its_kind_asks_for(name, tp, tmp_path):
    plan = plan_of(load(name, tmp_path.joinpath), tp=tp)
    for work in plan.works:
        kind = work.template.kind
        assert set(OPERATION_ATTRIBUTES[kind]) <= set(work.template.attributes), kind
        extra = 4 if kind == "attention" else 0
        assert len(work.operands.of(BATCH)) == len(OPERATION_VALUES[kind]) + extra
    assert len(moves(block(plan).operations)) == (2 if tp > 1 else 0)


@pytest.mark.parametrize(
    ("name", "tp", "weights", "kv"),
    [
        ("meta-llama/Llama-3.1-8B", 1, 16_060_522_496, 131_072),
        ("Qwen/Qwen3-32B", 2, 32_762_767_360 + 64 * 2 * 128 * 2, 131_072),  # and norms of Q and K,
    ],
)
def test_weights_and_kv_by_published_sums(name, tp, weights, kv, tmp_path):
    arch = load(name, tmp_path.joinpath)
    assert (arch.weight_bytes(tp), arch.kv_bytes_per_token(tp, "bf16")) == (weights, kv)


def test_gemm_shapes_multiply_to_the_weights(tmp_path):
    """All matrices of the plan, over all ranks and layers, are the model's weights less norms and embedding."""
    arch = load("meta-llama/Llama-3.1-70B", tmp_path.joinpath)
    for tp in (1, 2, 8):
        total = tp * sum(
            section.repeat * row.works[0].template.attributes["n"] * row.works[0].template.attributes["k"]
            for section in plan_of(arch, tp=tp).sections
            for row in section.operations
            if row.works[0].template.kind == "gemm"
        )
        norms = arch.hidden * (2 * arch.layers + 1)
        assert 2 * (total + norms + arch.vocab * arch.hidden) == arch.weight_bytes(1)


def test_all_reduce_moves_one_activation_a_token(tmp_path):
    reduce = moves(block(plan_of(load("meta-llama/Llama-3.1-8B", tmp_path.joinpath), tp=2)).operations)[0]
    assert reduce.operands.of(BATCH) == ((512 + 100 + 8) * 4096 * 2,)
    assert reduce.template.attributes["participants"] == 2


def test_experts_hit_grow_to_all(tmp_path):
    plan = plan_of(load("mistralai/Mixtral-8x7B-v0.1", tmp_path.joinpath))
    moe = next(work for work in plan.works if work.template.kind == "moe")
    hit = [moe.operands.of(Batch((), n, 0, 0, 0))[1] for n in (1, 2, 4, 64)]
    assert hit == [2, 4, 5, 8]  # 2 of 8 a token: 8 (1 - 0.75^n), rounded


def test_instances_of_one_model_share_templates(tmp_path):
    templates, arch = Templates(), load("Qwen/Qwen3-32B", tmp_path.joinpath)
    first, second = plan_of(arch, templates, tp=2), plan_of(arch, templates, tp=2)
    assert first.works[1].template is second.works[1].template


def test_stages_cut_the_layers_as_vllm_does(tmp_path):
    assert [len(layers) for layers in Layout((), pp=3).layers(32)] == [11, 11, 10]
    assert [len(layers) for layers in Layout((), pp=4).layers(30)] == [7, 8, 8, 7]
    plan = plan_of(load("meta-llama/Llama-3.1-8B", tmp_path.joinpath), pp=4)
    assert [section.repeat for section in plan.sections if section.layers] == [8, 8, 8, 8]
    sends = [section for section in plan.sections if section.stage is None]
    assert len(sends) == 3 and plan.lanes == 4
    assert sends[0].operations[0].works[0].operands.of(BATCH) == (
        (512 + 100 + 8) * 2 * 4096 * 2,
    )  # hidden states and residual


def test_experts_over_a_data_parallel_group_see_the_tokens_of_all(tmp_path):
    arch = load("Qwen/Qwen3-30B-A3B-Instruct-2507", tmp_path.joinpath)
    plan = plan_of(arch, dp=4, expert_parallel=True)
    joint = [row for row in block(plan).operations if row.joint]
    assert [row.works[0].template.kind for row in joint] == ["all_gather", "moe", "reduce_scatter"]
    group = joined([Batch((), 100, 0, 0, 0)] * 4)
    gather, moe, scatter = (row.works[0] for row in joint)
    assert moe.operands.of(group)[0] == 100  # 400 tokens x 8 experts over 4 ranks, as tokens of 8 experts each
    assert moe.template.attributes["experts"] == arch.experts // 4
    assert gather.operands.of(group) == (100 * (arch.hidden + arch.experts) * 2,)
    assert scatter.operands.of(group) == (400 * arch.hidden * 2,)
    assert arch.weight_bytes(1, 4) < arch.weight_bytes(1) / 3


def test_leading_dense_layers_and_shared_experts(tmp_path):
    """GLM-4.5's way: one dense layer first, then experts beside one that every token takes."""
    glm = config(
        model_type="glm4_moe",
        num_hidden_layers=6,
        first_k_dense_replace=1,
        moe_intermediate_size=32,
        n_routed_experts=8,
        n_shared_experts=2,
        num_experts_per_tok=2,
        use_qk_norm=True,
    )
    (tmp_path / "glm.json").write_text(json.dumps(glm))
    arch = load("glm.json", tmp_path.joinpath)
    assert [block.experts is None for block in arch.blocks] == [True] + 5 * [False]
    assert (arch.blocks[0].mlp.width, arch.routed.shared.width, arch.attention.qk_norm) == (128, 64, 2 * 16)
    for tp in (1, 2):
        dense, sparse = (section for section in plan_of(arch, tp=tp).sections if section.layers)
        assert (dense.repeat, sparse.repeat) == (1, 5)
        layers = [row.works[0].template.layer for row in sparse.operations]
        assert layers[layers.index("shared_gate_up_proj") :] == [
            "shared_gate_up_proj",
            "shared_act_fn",
            "shared_down_proj",
            "moe",
            *(["moe"] if tp > 1 else []),
        ]
        assert "gate_up_proj" in [row.works[0].template.layer for row in dense.operations]
        matrices = tp * sum(
            section.repeat * row.works[0].template.attributes["n"] * row.works[0].template.attributes["k"]
            for section in (dense, sparse)
            for row in section.operations
            if row.works[0].template.kind == "gemm"
        )
        experts = 5 * (8 * 3 * 64 * 32 + 64 * 8)
        rest = 2 * 100 * 64 + 64 * (2 * 6 + 1) + 6 * 2 * 16  # embedding and head, norms, also of Q and K
        assert arch.weight_bytes(1) == 2 * (matrices + experts + rest)
    # Pipeline stages: the dense layer is the first stage's.
    stages = plan_of(arch, pp=2).sections
    assert [(s.stage, s.repeat) for s in stages if s.layers] == [("stage0", 1), ("stage0", 2), ("stage1", 3)]
    assert arch.weight_bytes(1, layers=range(3), ends=1) + arch.weight_bytes(1, layers=range(3, 6), ends=1) == (
        arch.weight_bytes(1) + 2 * 64
    )  # the final norm is counted with either end
    # Over a data-parallel group the shared experts are each member's own.
    group = next(s for s in reversed(plan_of(arch, dp=2, tp=2, expert_parallel=True).sections) if s.layers)
    joint = [row.works[0].template.layer for row in group.operations if row.joint]
    assert joint == ["dispatch", "moe", "combine"]
    assert "shared_experts" in [row.works[0].template.layer for row in group.operations if not row.joint]


def test_only_a_model_that_routes_by_tensor_operations_says_so(tmp_path):
    for family, kernels in (("phimoe", 21), ("mixtral", None)):
        (tmp_path / "moe.json").write_text(
            json.dumps(config(model_type=family, num_local_experts=8, num_experts_per_tok=2))
        )
        moe = next(w for w in plan_of(load("moe.json", tmp_path.joinpath)).works if w.template.kind == "moe")
        assert moe.template.attributes.get("routing_kernels") == kernels


def config(**changes):
    base = {
        "model_type": "llama",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "max_position_embeddings": 512,
    }
    return {**base, **changes}


def test_a_config_json_of_ones_own(tmp_path):
    path = tmp_path / "me" / "mine"
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(config()))
    arch = load("me/mine", tmp_path.joinpath)
    assert (arch.name, arch.kv_heads, arch.attention.head_size, arch.dtype) == ("me/mine", (4,), 16, "bf16")


@pytest.mark.parametrize(
    ("written", "dtype"), [("float16", "fp16"), ("torch.bfloat16", "bf16"), ("torch.float16", "fp16")]
)
def test_a_dtype_as_transformers_writes_it_or_wrote_it(tmp_path, written, dtype):
    (tmp_path / "c.json").write_text(json.dumps(config(torch_dtype=written)))
    assert load("c.json", tmp_path.joinpath).dtype == dtype


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"torch_dtype": "torch.int3"}, "torch_dtype = 'torch.int3'"),
        ({"model_type": 3}, "model_type = 3: must be a name"),
        ({"hidden_size": None}, "hidden_size: is missing"),
        ({"hidden_size": -1}, "hidden_size = -1: must be a positive"),
        ({"torch_dtype": "int3"}, "torch_dtype = 'int3'"),
        ({"model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 9}, "num_experts_per_tok = 9"),
    ],
)
def test_a_config_that_cannot_be_read_names_the_field(tmp_path, change, message):
    (tmp_path / "c.json").write_text(json.dumps(config(**change)))
    with pytest.raises(InputError, match=message):
        load("c.json", tmp_path.joinpath)


def test_a_model_nobody_knows_names_those_there_are(tmp_path):
    with pytest.raises(InputError, match="Qwen/Qwen3-32B"):
        load("nobody/knows", tmp_path.joinpath)


def test_with_gemv_in_memory_what_every_token_is_multiplied_with_is_there_too(tmp_path):
    """Projections and MLPs, shared experts among them; not routed experts, the head, or what a prompt unfolds."""
    config = json.loads((Path(__file__).parent / "configs.json").read_text())["deepseek-ai/DeepSeek-V3"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    arch = load(str(tmp_path / "config.json"), tmp_path.joinpath)
    hardware = Hardware(lambda devices: "net", ["n0"], gemv=True)
    plan = lower("chat", arch, Layout((("n0", 0), ("n0", 1)), tp=2), "bf16", Templates(), hardware)
    both = {row.works[0].template.layer for part in plan.sections for row in part.operations if row.instead}
    assert {"q_b_proj", "o_proj", "gate_up_proj", "shared_gate_up_proj", "shared_down_proj", "down_proj"} <= both
    assert not both & {"moe", "lm_head", "embedding", "kv_b_proj"}
    for row in (row for part in plan.sections for row in part.operations if row.instead):
        assert [work.component for work in row.instead] == ["n0.pim"] and row.instead[0].template == row.works[
            0
        ].template
        assert row.other_way.works == row.instead and row.other_way.other_way == row.other_way
    shared = 58 * 2048 * (3 * 7168) // 2  # bytes of their fp8 on a rank, beside scales
    assert plan.copied_bytes("stage0") > shared and plan.copied_bytes("stage1") == 0


def test_the_bytes_of_the_copy_are_those_of_the_matrices(tmp_path):
    arch = load("meta-llama/Llama-3.1-8B", tmp_path.joinpath)
    hardware = Hardware(lambda devices: "net", ["n0"], gemv=True)
    ranks = tuple(("n0", i) for i in range(4))
    plan = lower("chat", arch, Layout(ranks, pp=2, tp=2), "bf16", Templates(), hardware)
    ends = 2 * arch.vocab * arch.hidden * 2  # bytes of embedding and head
    norms = (2 * arch.layers + 1) * arch.hidden * 2
    assert plan.copied_bytes("stage0") == plan.copied_bytes("stage1") == (arch.weight_bytes(1) - ends - norms) // 4

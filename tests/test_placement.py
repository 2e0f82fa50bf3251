"""Instances onto devices: what is refused and with which words, and how K and V get from one to another."""

from __future__ import annotations

import json
import re

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.kv_routes import kv_routes
from metronome.orchestrator.lowering.work import Templates
from metronome.orchestrator.placement import find_network, place
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.scenario.loading import validate

DENSE = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
}
JAMBA = {**DENSE, "model_type": "jamba", "attn_layer_period": 3, "attn_layer_offset": 1, "mamba_expand": 2}
BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}
MODELS = {
    "dense": DENSE,
    "blocks": {**DENSE, "num_key_value_heads": 2, "head_dim": 192, "hidden_size": 1536, "quantization_config": BLOCKS},
    "cut down": {**DENSE, "intermediate_size": 640, "quantization_config": BLOCKS},
    "odd": {**DENSE, "num_attention_heads": 12, "num_key_value_heads": 3, "head_dim": 64},
    "narrow": {**DENSE, "intermediate_size": 1026},
    "experts": {**DENSE, "model_type": "mixtral", "num_local_experts": 6, "num_experts_per_tok": 2},
}


@pytest.fixture
def placed(tmp_path):
    """`place` of instances on two nodes with four devices each."""
    for name, config in MODELS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))

    def place_all(*instances, n1=None, networks=None, memory=None, **scenario):
        nodes = [
            {"name": "n0", "accelerators": {"type": "h100-sxm", "count": 4}, "memory": memory or {}},
            {"name": "n1", "accelerators": n1 or {"type": "h100-sxm", "count": 4}},
        ]
        both = [{"name": "net", "type": "nvlink4", "connects": ["n0.accelerators", "n1.accelerators"]}]
        instances = [{"name": f"i{i}", "model": "dense", **instance} for i, instance in enumerate(instances)]
        data = {
            "name": "test",
            "workload": {
                "format": "synthetic",
                "num_requests": 1,
                "request_rate": 1,
                "input_tokens": {"mean": 100},
                "output_tokens": {"mean": 10},
            },
            "cluster": {"nodes": nodes, "networks": both if networks is None else networks},
            "instances": instances,
            **scenario,
        }
        found = validate(data, "test")
        return found, place(found, Inputs(tmp_path), Templates())

    return place_all


def devices(accelerators="n0[0:4]", **options):
    return {"accelerators": accelerators, **options}


PIM = {"pim": {"devices_per_accelerator": 16}}
EP = {"enable_expert_parallel": True, "model": "experts"}
HISTOGRAM = {"model": "experts", "expert_routing": {"model": "histogram", "histogram": [1, 2, 3]}}
FFN = {"model": "experts", "accelerators": "n0[0:2]", "ffn": {"accelerators": "n1[0:2]"}}

REFUSED = {
    "sizes that do not multiply to the devices": (
        [devices(tensor_parallel_size=2, pipeline_parallel_size=3)],
        {},
        "tensor_parallel_size.*needs tensor x pipeline x data parallel = 2 x 3 x 1 = 6 accelerators, it has 4",
    ),
    "heads that are not divided": (
        [devices(["n0[0:4]", "n1[0:4]"], tensor_parallel_size=8, model="odd")],
        {},
        r"must divide the model's attention heads \(12\)",
    ),
    "a width that is not divided": (
        [devices(tensor_parallel_size=4, model="narrow")],
        {},
        r"must divide the model's intermediate size \(1026\)",
    ),
    "KV heads that neither divide nor are divided": (
        [devices(tensor_parallel_size=4, model="odd")],
        {},
        r"must divide, or be divided by, the KV heads \(3\)",
    ),
    "more stages than layers": (
        [devices(["n0[0:4]", "n1[0:4]"], pipeline_parallel_size=8)],
        {},
        "pipeline_parallel_size.*the model has 6 layers",
    ),
    "experts of a model without": (
        [devices(enable_expert_parallel=True)],
        {},
        "enable_expert_parallel.*dense has no experts",
    ),
    "experts apart of a model without": (
        [{**FFN, "model": "dense"}],
        {},
        "ffn.*dense has no experts",
    ),
    "routing of a model without experts": (
        [devices(expert_routing={"model": "zipf"})],
        {},
        "expert_routing.*dense has no experts",
    ),
    "experts that are not divided": (
        [devices(data_parallel_size=4, **EP)],
        {},
        r"enable_expert_parallel.*that many ranks must divide the experts \(6\)",
    ),
    "data parallel experts that are not spread": (
        [devices("n0[0:2]", data_parallel_size=2, model="experts")],
        {},
        "data_parallel_size.*a model with experts then needs enable_expert_parallel",
    ),
    "experts apart, with stages": (
        [{**FFN, "pipeline_parallel_size": 2}],
        {},
        "ffn.*goes with tensor parallelism only",
    ),
    "decodes in PIM that is not there": (
        [devices(decode_attention="pim")],
        {},
        "decode_attention.*node n0 has no memory.pim",
    ),
    "decodes in PIM of a prefill instance": (
        [devices(decode_attention="pim", role="prefill"), devices("n1[0:4]", role="decode")],
        {"memory": PIM},
        "decode_attention.*goes with role both and without ffn",
    ),
    "half batches without PIM": (
        [devices(sub_batch_interleaving=True)],
        {},
        "sub_batch_interleaving.*goes with decode_attention pim",
    ),
    "half batches of members that step together": (
        [devices("n0[0:2]", data_parallel_size=2, decode_attention="pim", sub_batch_interleaving=True, **EP)],
        {"memory": PIM},
        "sub_batch_interleaving.*goes with engines that step alone",
    ),
    "K and V by layer from members that step together": (
        [devices("n0[0:2]", data_parallel_size=2, role="prefill", **EP), devices("n1[0:2]", role="decode", **EP)],
        {"kv_transfer": {"mode": "push", "granularity": "layer"}},
        "data_parallel_size.*kv_transfer.granularity layer needs engines that step alone",
    ),
    "devices of two kinds in step": (
        [devices(["n0[0:2]", "n1[0:2]"], tensor_parallel_size=4)],
        {"n1": {"type": "a100-80g-sxm", "count": 4}},
        r"accelerators.*ranks that work in step are of one kind, not \['a100-80g-sxm', 'h100-sxm'\]",
    ),
    "ranks without a network": (
        [devices(tensor_parallel_size=4)],
        {"networks": []},
        "tensor_parallel_size.*needs a network that connects n0.accelerators",
    ),
    "a device without a size": (
        [devices("n1[0:1]")],
        {"n1": {"type": "n-5000", "count": 4}},
        "cluster.nodes.n1.accelerators.type = 'n-5000': give memory_gib, or",
    ),
    "a histogram of too few experts": ([devices("n0[0:1]", **HISTOGRAM)], {}, "histogram.*one count for each of 6 exp"),
    "a histogram that picks too few": (
        [
            devices(
                "n0[0:1]", **{**HISTOGRAM, "expert_routing": {"model": "histogram", "histogram": [9, 0, 0, 0, 0, 0]}}
            )
        ],
        {},
        "histogram.*needs counts of at least the 2 experts a token picks",
    ),
    "more tokens than the model takes": (
        [devices(engine={"max_model_len": 5000})],
        {},
        "engine.max_model_len.*the model's own limit is 4096",
    ),
    "weights that do not fit": (
        [devices("n1[0:1]")],
        {"n1": {"type": "h100-sxm", "count": 4, "memory_gib": 0.02}},
        "instances.0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(placed, case):
    instances, scenario, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        placed(*instances, **scenario)
    assert re.search(message, str(error.value)), error.value
    assert "instances.0" in str(error.value) or "cluster" in str(error.value)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["i0"]),
        ({"data_parallel_size": 2, "tensor_parallel_size": 2}, ["i0-dp0", "i0-dp1"]),  # they never meet
        ({"data_parallel_size": 2, "tensor_parallel_size": 1, "accelerators": "n0[0:2]", **EP}, ["i0"]),
    ],
)
def test_members_that_meet_are_one_unit(placed, options, names):
    _, units = placed(devices(**options))
    assert [unit.name for unit in units] == names
    assert sum(len(unit.names) for unit in units) == options.get("data_parallel_size", 1)
    assert [device for unit in units for device in unit.layout.devices] == [
        ("n0", i) for i in range(len(units[0].layout.devices) * len(units))
    ]


def test_the_smallest_network_that_connects_them_is_taken(placed):
    networks = [
        {"name": "all", "type": "nvlink4", "connects": ["n0.accelerators", "n1.accelerators"]},
        {"name": "own", "type": "nvlink4", "connects": ["n0.accelerators"]},
    ]
    scenario, units = placed(devices(tensor_parallel_size=4), networks=networks)
    moved = {work.component for work in units[0].plan.works if work.template.kind == "all_reduce"}
    assert moved == {"own"}
    assert find_network(scenario, "x", 2, [("n0", 0), ("n1", 0)]) == "all"


def routes(placed, source, target, model="dense"):
    scenario, (first, second) = placed(
        devices("n0[0:4]", role="prefill", model=model, **source),
        devices("n1[0:4]", role="decode", model=model, **target),
    )
    return kv_routes(scenario, first, second, 0, 0, Templates())


LAYER_BYTES = 2 * 4 * 64 * 2  # K and V, 4 heads of 64, bf16


@pytest.mark.parametrize(
    ("source", "target"),
    [((4, 1), (4, 1)), ((1, 4), (4, 1)), ((2, 2), (4, 1)), ((4, 1), (2, 2)), ((2, 2), (1, 4))],
)
def test_every_head_of_every_layer_goes_once_to_each_rank_that_needs_it(placed, source, target):
    made = routes(
        placed,
        dict(zip(("tensor_parallel_size", "pipeline_parallel_size"), source, strict=True)),
        dict(zip(("tensor_parallel_size", "pipeline_parallel_size"), target, strict=True)),
    )
    layers = [0.0] * 6
    for route in made:
        ranks = route.work.template.attributes["ranks"].split(",")
        assert len(ranks) == route.work.copies and len(ranks) % 2 == 0
        assert {rank[:2] for rank in ranks[::2]} == {"n0"} and {rank[:2] for rank in ranks[1::2]} == {"n1"}
        for layer in route.layers:
            layers[layer] += route.layer_bytes * len(ranks) / 2
    assert layers == [LAYER_BYTES] * 6


def test_repeated_heads_go_to_all_that_keep_them(placed):
    scenario, (first, second) = placed(
        devices("n0[0:1]", role="prefill"),
        devices("n1[0:8]", role="decode", tensor_parallel_size=8),
        n1={"type": "h100-sxm", "count": 8},
    )
    (route, *more) = kv_routes(scenario, first, second, 0, 0, Templates())
    assert not more and route.work.copies == 2 * 8  # 4 heads over 8 ranks: two keep each
    assert route.layer_bytes == LAYER_BYTES / 4


@pytest.mark.parametrize(
    ("target", "field"),
    [
        ({"model": "odd"}, "model"),
        ({"engine": {"kv_cache_dtype": "fp8"}}, "engine.kv_cache_dtype"),
        ({"engine": {"block_size": 32}}, "engine.block_size"),
    ],
)
def test_two_that_cannot_share_k_and_v_are_refused(placed, target, field):
    scenario, (first, second) = placed(devices("n0[0:1]", role="prefill"), devices("n1[0:1]", role="decode", **target))
    with pytest.raises(InputError, match=rf"instances.1.{field}.*must be that of the prefill instance i0"):
        kv_routes(scenario, first, second, 0, 0, Templates())


def test_keys_and_gates_may_end_within_a_scaling_block(placed):
    """MiMo-V2-Flash with TP 4, as vLLM's recipe serves it, leaves each rank 192 outputs of k_proj."""
    _, units = placed({"model": "blocks", "accelerators": "n0[0:2]"})
    assert [unit.layout.tp for unit in units] == [2]


def test_inputs_may_not(placed):
    with pytest.raises(InputError, match=r"leaves 160 of mlp.down_proj, not whole blocks of 128"):
        placed({"model": "cut down", "accelerators": "n0[0:4]"})


@pytest.mark.parametrize(
    ("device", "stored", "asked", "served"),
    [
        ("h100-sxm", "float32", "auto", "bf16"),
        ("t4", "bfloat16", "auto", "fp16"),
        ("t4", "float32", "auto", "fp16"),
        ("h100-sxm", "float32", "float32", "fp32"),
        ("h100-sxm", "float16", "auto", "fp16"),
        ("no-such-device", "bfloat16", "auto", "bf16"),
    ],
)
def test_dtype_auto_is_what_vllm_makes_of_it(placed, tmp_path, device, stored, asked, served):
    (tmp_path / "stored").mkdir()
    (tmp_path / "stored" / "config.json").write_text(json.dumps({**DENSE, "torch_dtype": stored}))
    place_on = {"accelerators": "n1[0]", "model": "stored", "dtype": asked}
    _, (unit,) = placed(place_on, n1={"type": device, "count": 1, "memory_gib": 16})
    assert (unit.arch.dtype, unit.kv_dtype) == (served, served)
    short = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}[stored]
    assert bool(unit.arch.warnings) == (short != served)


@pytest.mark.parametrize("version", ["vllm-0.19", "vllm-0.11", "ideal"])
def test_formats_that_vllm_does_not_serve_on_a_gpu_are_refused(placed, version):
    instance = {"accelerators": "n1[0]", "quantization": "fp8", "engine": {"version": version}}
    if version == "ideal":
        placed(instance, n1={"type": "v100-32g-sxm", "count": 1})
    else:
        with pytest.raises(InputError, match=r"0.quantization = 'fp8': vLLM serves it from .* 7.5 on; this .* has 7.0"):
            placed(instance, n1={"type": "v100-32g-sxm", "count": 1})
    placed(instance, n1={"type": "t4", "count": 1})


def test_prefix_caching_of_states_is_off_and_asking_for_it_a_warning(placed, tmp_path):
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "config.json").write_text(json.dumps(JAMBA))
    _, (unit,) = placed({"accelerators": "n1[0]", "model": "states"}, n1={"type": "h100-sxm", "count": 1})
    assert not unit.options.engine.enable_prefix_caching and not unit.arch.warnings
    assert unit.options.engine.block_size > 16
    asked = {"accelerators": "n1[0]", "model": "states", "engine": {"enable_prefix_caching": True}}
    _, (unit,) = placed(asked, n1={"type": "h100-sxm", "count": 1})
    assert not unit.options.engine.enable_prefix_caching
    assert "enable_prefix_caching: not modelled with states" in unit.arch.warnings[0]


def test_max_model_len_auto_is_what_fits(placed):
    here = {"accelerators": "n1[0]", "model": "dense"}
    engine = {"max_num_batched_tokens": 512, "max_num_seqs": 4, "gpu_memory_utilization": 1}
    small = {"type": "h100-sxm", "count": 1, "memory_gib": 0.33}
    with pytest.raises(InputError, match="less than one sequence"):
        placed({**here, "engine": engine}, n1=small)
    _, (unit,) = placed({**here, "engine": {**engine, "max_model_len": "auto"}}, n1=small)
    assert unit.max_model_len == unit.blocks * 16 < 4096
    _, (unit,) = placed({**here, "engine": {"max_model_len": "auto"}}, n1={**small, "memory_gib": 80})
    assert unit.max_model_len == 4096

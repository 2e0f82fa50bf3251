"""LLMServingSim's cluster files: every key is taken or refused by name."""

from __future__ import annotations

import copy
import json
import warnings

import pytest
from metronome.orchestrator.coupling.components import specify
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.importers.llmservingsim import Sources, convert
from metronome.orchestrator.scenario.schema import Scenario

INSTANCE = {
    "model_name": "org/dense",
    "hardware": "H100",
    "npu_mem": {"mem_size": 80, "mem_latency": 0},
    "pd_type": None,
    "tp_size": 2,
}
CPU = {"mem_size": 128, "mem_bw": 100, "mem_latency": 0}
POWER = {
    "base_node_power": 60,
    "npu": {"H100": {"idle_power": 35, "standby_power": 300, "active_power": 600, "standby_duration": 18}},
    "cpu": {"idle_power": 10, "active_power": 210, "util": 0.15},
    "dram": {"dimm_size": 32, "idle_power": 2.0, "energy_per_bit": 6.0},
    "link": {"num_links": 3, "idle_power": 5, "energy_per_bit": 4.0},
    "nic": {"num_nics": 2, "idle_power": 20},
    "storage": {"num_devices": 2, "idle_power": 5},
}
DENSE = {"model_type": "llama", "max_position_embeddings": 4096}
MODELS = {"dense": DENSE, "experts": {**DENSE, "model_type": "mixtral", "num_local_experts": 8}}


def node(*instances, **more):
    parts = [INSTANCE | part for part in instances or ({},)]
    return {"num_instances": len(parts), "cpu_mem": CPU, "instances": parts, **more}


def member(part=None):
    """A node of one member of a data-parallel group."""
    return node({"dp_group": "A", **(part or {})})


@pytest.fixture
def imported(tmp_path):
    """The import of a cluster of these nodes."""
    (tmp_path / "org").mkdir()
    for name, config in MODELS.items():
        (tmp_path / "org" / f"{name}.json").write_text(json.dumps(config))
    for kind in ("H100", "A100", "NPU"):
        (tmp_path / "perf" / kind).mkdir(parents=True)
    (tmp_path / "w.jsonl").write_text('{"input_toks": 10, "output_toks": 5, "arrival_time_ns": 0}\n')

    def make(*nodes, bandwidth=100, latency=500, flags=(), **more):
        nodes = nodes or (node(),)
        cluster = {"num_nodes": len(nodes), "link_bw": bandwidth, "link_latency": latency, "nodes": list(nodes), **more}
        (tmp_path / "c.json").write_text(json.dumps(cluster))
        sources = Sources(tmp_path / "c.json", tmp_path / "perf", tmp_path, tmp_path / "w.jsonl", tmp_path / "s.yaml")
        return convert(sources, dict(flags), None, "round-robin")

    return make


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node({"tp_sise": 4})], "nodes.0.instances.0: unknown key 'tp_sise'; did you mean 'tp_size'?"),
        ([node({"enable_prefix_cachin": True})], "did you mean 'enable_prefix_caching'?"),
        ([node({"npu_mem": {"mem_size": 80, "mem_utl": 1}})], "did you mean 'mem_util'?"),
        ([node(powr={})], "did you mean 'power'?"),
        ([node(power={**POWER, "nics": {}})], "did you mean 'nic'?"),
        (
            [node({"tp_hardware": ["H100", "A100"]})],
            "tp_hardware is refused: ranks of one instance are on unlike devices",
        ),
        ([node({"hbf_mem": {"mem_size": 1}})], "hbf_mem is refused: flash beside the device's memory"),
        ([node({"placement": {"default": {"weights": "cxl:1"}}})], "below cxl_mem.num_devices (0)"),
        (
            [node({}, {"placement": {"default": {"kv_loc": "cpu"}}})],
            "nodes[0].instances[1].placement.default.kv_loc = 'cpu': is refused: K and V of running requests are on",
        ),
        (
            [node({"placement": {"blocks": [{"blocks": "0-3"}, {"blocks": "4", "weights": "cpu"}]}})],
            "instances[0].placement.blocks[1].weights = 'cpu': is refused: all layers' weights are in one place",
        ),
        (
            [node({"placement": {"default": {"weights": "cpu"}, "blocks": [{"blocks": 4, "weights": "npu"}]}})],
            "blocks[0].weights = 'npu': is refused: all layers' weights are in one place, which default says to be cpu",
        ),
        ([node({"placement": {"layers": {"qkv": {"kv_loc": "cxl:0"}}}})], "placement.layers.qkv.kv_loc = 'cxl:0'"),
        ([node({"placement": {"blocks": [{"bloks": "0-3"}]}})], "unknown key 'bloks'; did you mean 'blocks'?"),
        ([node({"npu_mem": None})], "needs model_name, hardware and npu_mem"),
        ([node({"hardware": "H10"})], "nodes[0].instances.hardware = 'H10': did you mean"),
        ([node({"num_npus": 3, "tp_size": 4})], "num_npus = 3: must equal tp_size x pp_size, and tp_size is 4"),
        ([node({"num_npus": 1, "tp_size": None, "pp_size": 2})], "must equal tp_size x pp_size, and pp_size is 2"),
        ([node({"num_npus": 3, "pp_size": 2})], "num_npus = 3: must equal tp_size x pp_size = 4"),
        ([node({"enable_attn_offloading": True})], "enable_attn_offloading is refused"),
        ([node(cpu_mem={**CPU, "pim_config": "HBM2"})], "nodes.0.cpu_mem: pim_config is refused"),
        ([node({}, {"npu_mem": {"mem_size": 40}})], "devices of a node are alike"),
        ([node(), {**node(), "num_instances": 3}], "nodes.1: num_instances = 3: there are 1"),
        (
            [node(power={**POWER, "npu": {"A100": POWER["npu"]["H100"]}})],
            "has no H100, which is what the node has; has A100",
        ),
        ([node({"tp_size": 4, "ep_size": 2, "model_name": "org/experts"})], "ep_size = 2: must be 1, or all 4 ranks"),
        ([node({"num_npus": 3})], "must equal tp_size x pp_size"),
        ([node({"tp_size": "2"})], "nodes.0.instances.0.tp_size = '2'"),
        ([node({"num_npus": 2, "npu_num": 4})], "npu_num = 4: is their older word for num_npus, which is 2"),
        ([node({"pp_size": 1, "npu_group": 4})], "npu_group = 4: is their older word for pp_size, which is 1"),
        ([node({"pd_type": "prefil"})], "pd_type = 'prefil': Input should be 'prefill' or 'decode'"),
        ([node({"dp_group": ""})], "dp_group"),
        ([node({"npu_mem": {"mem_size": 0}})], "npu_mem.mem_size = 0"),
        ([node({"npu_mem": {"mem_size": 80, "mem_util": 90}})], "npu_mem.mem_util = 90"),
        ([node({"placement": {"default": {"kv_evict_loc": "moon"}}})], "kv_evict_loc = 'moon'"),
        (
            [member({"pd_type": "prefill"}), member({"pd_type": "decode"})],
            "pd_type = 'decode': must be that of the others",
        ),
        ([member(), member({"dtype": "float16"})], "dtype = 'float16': must be that of the others"),
        ([member(), member({"hardware": "A100"})], "hardware = 'A100': must be that of the others"),
        (
            [member(), member({"placement": {"default": {"weights": "cpu"}}})],
            "must be that of the others of its dp_group",
        ),
        ([node(power={**POWER, "dram": {"idle_power": 2}})], "dram.idle_power = 2.0: is of a DIMM: needs dimm_size"),
        ([node(power=POWER, cpu_mem={"mem_bw": 100})], "dram.idle_power = 2.0: is of a DIMM"),
    ],
)
def test_what_is_refused(imported, nodes, message):
    with pytest.raises(InputError) as caught:
        imported(*nodes)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_nodes": 3}, "num_nodes = 3: there are 1"),
        ({"cxl_mem": {"mem_size": 1024, "mem_bw": 60}}, "cxl_mem.mem_latency"),
        ({"link_bandwidth": 3}, "unknown key 'link_bandwidth'; did you mean 'link_bw'?"),
        ({"bandwidth": [1, 2, 3]}, "must have one figure for each dimension of the devices' grid, [2]"),
        ({"bandwidth": 0}, "link_bw = 0.0: must be above 0"),
        ({"latency": "1"}, "link_latency"),
    ],
)
def test_what_is_refused_of_the_whole(imported, more, message):
    with pytest.raises(InputError) as caught:
        imported(**more)
    assert message in str(caught.value)


def test_remarks_and_what_is_off_are_no_reason_to_refuse(imported):
    plain = imported()
    off = {"_comment": "mine", "placement": None, "enable_attn_offloading": False, "enable_block_copy": True}
    assert imported(node(off), _comment="a note to self").scenario == plain.scenario
    assert imported(node(power=None)).scenario == plain.scenario


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, "1"), ("i1", "i1")])
def test_members_of_a_group_are_one_instance_whatever_its_name(imported, first, second):
    (one,) = imported(node({"dp_group": first}, {"dp_group": second})).scenario["instances"]
    assert one["data_parallel_size"] == 2
    assert len(imported(node({"dp_group": "i1"}, {})).scenario["instances"]) == 2


def test_rules_that_say_what_the_default_says_change_nothing(imported):
    """As files are written that give every block its place."""
    plain = imported()
    rule = {"weights": "npu", "kv_loc": "npu", "kv_evict_loc": "cpu"}
    found = imported(node({"placement": {"blocks": [{"blocks": "0-31", **rule}], "layers": {"qkv_proj": rule}}}))
    assert found.scenario == plain.scenario
    assert [note for note in found.notes if note not in plain.notes] == [
        "without effect: placement.blocks, layers: they say what placement.default says, or where evicted K and V go"
    ]


def test_what_has_no_effect_is_said(imported):
    watts = {"idle_power": 35, "standby_power": 300, "active_power": 600}
    power = {**POWER, "npu": {"H100": watts, "A100": watts}}
    placed = {"default": {"kv_evict_loc": "cpu"}}
    memory = {"mem_size": 80, "mem_bw": 3350, "mem_latency": 0}
    notes = imported(node({"enable_block_copy": True, "placement": placed, "npu_mem": memory}, power=power)).notes
    for part in ("npu_mem.mem_bw", "enable_block_copy", "kv_evict_loc cpu", "npu.A100", "H100.standby_power"):
        assert any(note.startswith("without effect: ") and part in note for note in notes), part
    assert not any("mem_latency" in note for note in notes)


def test_a_key_that_is_there_twice_is_refused(imported, tmp_path):
    imported()
    text = (tmp_path / "c.json").read_text()
    (tmp_path / "c.json").write_text(text.replace('"link_bw"', '"link_bw": 5, "link_bw"'))
    sources = Sources(tmp_path / "c.json", tmp_path / "perf", tmp_path, tmp_path / "w.jsonl", tmp_path / "s.yaml")
    with pytest.raises(InputError, match="link_bw = .*is there twice"):
        convert(sources, {}, None, "round-robin")


def test_a_latency_of_0_leaves_the_bandwidth(imported):
    found = imported(bandwidth=300, latency=0)
    (link,) = found.scenario["cluster"]["networks"]
    assert link == {
        "name": "link0",
        "connects": ["n0.accelerators"],
        "type": "nvlink4",
        "bandwidth_gb_s": pytest.approx(300 * 2**30 / 1e9),
    }
    assert not found.notes
    assert imported(bandwidth=900, latency=0).notes == ["link_bw is 966 GB/s a direction; nvlink4 reaches 338"]
    (other,) = imported(node({"hardware": "NPU"}), latency=0).scenario["cluster"]["networks"]
    assert other["latency_ns"] == 0 and "type" not in other


def test_links_of_each_dimension(imported):
    member = node({"dp_group": "A", "model_name": "org/experts", "ep_size": 4})
    found = imported(member, member, bandwidth=[128, 16], latency=[500, 20000]).scenario
    inner, _, both = found["cluster"]["networks"]
    assert (inner["bandwidth_gb_s"], inner["latency_ns"]) == (pytest.approx(137.44, abs=0.01), 500)
    assert both["connects"] == ["n0.accelerators", "n1.accelerators"] and both["latency_ns"] == 500
    assert both["scale_out"] == {"bandwidth_gb_s": pytest.approx(17.18, abs=0.01), "latency_ns": 20000}
    (instance,) = found["instances"]
    assert instance["data_parallel_size"] == 2 and instance["enable_expert_parallel"]


def test_equal_figures_are_one_figure(imported):
    member = node({"dp_group": "A"})
    pair = imported(member, member, bandwidth=[16, 16], latency=[20000, 20000])
    assert pair == imported(member, member, bandwidth=16, latency=20000)
    assert imported(bandwidth=[16], latency=[20000]) == imported(bandwidth=16, latency=20000)


def test_one_device_a_node_has_the_links_beyond(imported):
    member = node({"dp_group": "A", "tp_size": 1})
    both = imported(member, member, bandwidth=[128, 16], latency=[500, 20000]).scenario["cluster"]["networks"][-1]
    assert (both["latency_ns"], "topology" in both, "scale_out" in both) == (20000, False, False)


@pytest.mark.parametrize("parts", [({"dp_group": "A"}, {"dp_group": "A"}), ({"pp_size": 2},)])
def test_dimensions_within_one_node_are_refused(imported, parts):
    with pytest.raises(InputError, match="joined by the links of a node here: give one figure"):
        imported(node(*parts), bandwidth=[128, 16], latency=[500, 20000])


def test_what_a_node_draws(imported):
    found = imported(node(power=POWER))
    (made,) = found.scenario["cluster"]["nodes"]
    assert made["power"] == {
        "base_w": 60,
        "parts": {
            "cpu": {"idle_w": 10 + 200 * 0.15, "busy_w": 10 + 200 * 0.7},  # their code's use while a device works
            "dram": {"idle_w": 4 * 2},
            "links": {"idle_w": 3 * 5},
            "nics": {"idle_w": 2 * 20},
            "storage": {"idle_w": 2 * 5},
        },
        "standby_s": 18,
    }
    assert made["memory"]["dram"]["energy_pj_per_bit"] == 6
    component = found.scenario["components"]["n0.accelerators"]
    assert (component["idle_w"], component["standby_w"], component["active_w"]) == (35, 300, 600)
    assert found.scenario["cluster"]["networks"][0]["energy_pj_per_bit"] == 4
    assert not found.notes
    never = copy.deepcopy(POWER)
    never["npu"]["H100"]["standby_duration"] = 0
    calm = imported(node(power=never))
    assert calm.scenario["components"]["n0.accelerators"]["standby_w"] == 35


def test_experts_are_whole_unless_it_says_otherwise(imported):
    """Their default of ep_size is tp_size for a model with experts."""
    for part, whole in (({}, True), ({"ep_size": 1}, False), ({"model_name": "org/dense"}, False)):
        (instance,) = imported(node({"model_name": "org/experts", **part})).scenario["instances"]
        assert instance.get("enable_expert_parallel", False) is whole


def test_cxl_memory_and_weights_that_lie_there(imported):
    cxl = {"mem_size": 1024, "mem_bw": 60, "mem_latency": 250, "num_devices": 2}
    found = imported(node({"placement": {"default": {"weights": "cxl:1"}}}), cxl_mem=cxl).scenario
    assert [memory["name"] for memory in found["cluster"]["memories"]] == ["cxl0", "cxl1"]
    assert found["cluster"]["networks"][-1]["connects"] == ["n0.accelerators", "cxl0", "cxl1"]
    assert found["instances"][0]["weight_offloading"] == {"memory": "cxl1"}
    host = imported(node({"placement": {"default": {"weights": "cpu"}}})).scenario
    assert host["instances"][0]["weight_offloading"] == {"memory": "dram"}
    assert host["cluster"]["networks"][-1]["connects"] == ["n0.accelerators", "n0.dram"]
    Scenario.model_validate(host)
    Scenario.model_validate(found)


@pytest.mark.parametrize(
    ("flags", "memory", "shared_by"),
    [
        ({"prefix_storage": "CPU"}, "dram", "instance"),
        ({"prefix_storage": "CPU", "enable_prefix_sharing": True}, "dram", "node"),
        ({"prefix_storage": "CXL", "enable_prefix_sharing": True}, "cxl0", "cluster"),
    ],
)
def test_a_second_tier_of_prefixes(imported, flags, memory, shared_by):
    cxl = {"mem_size": 1024, "mem_bw": 60, "mem_latency": 250}
    found = imported(node({}, {}), cxl_mem=cxl, flags=flags.items()).scenario
    (tier,) = found["kv_offloading"]["tiers"]
    assert (tier["memory"], tier["shared_by"]) == (memory, shared_by)
    Scenario.model_validate(found)
    assert "kv_offloading" not in imported(node({}, {}), flags={"prefix_storage": "None"}.items()).scenario
    with pytest.raises(InputError, match="needs cxl_mem"):
        imported(flags={"prefix_storage": "CXL"}.items())
    with pytest.raises(InputError, match="needs --prefix-storage"):
        imported(flags={"enable_prefix_sharing": True}.items())


def test_no_field_is_written_that_a_run_warns_of(imported, tmp_path):
    member = node({"dp_group": "A"})
    for found in (
        imported(),
        imported(node({"hardware": "NPU"}), latency=0),
        imported(member, member),
        imported(member, member, bandwidth=[128, 16], latency=[500, 20000]),
    ):
        assert "size_gib" not in found.scenario["cluster"]["nodes"][0]["memory"]["dram"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            specify(Scenario.model_validate(found.scenario), tmp_path)
    storage = imported(flags={"prefix_storage": "CPU"}).scenario["cluster"]
    assert storage["nodes"][0]["memory"]["dram"]["size_gib"] == 128  # what is stored there has to fit

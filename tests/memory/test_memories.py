"""Memories in a scenario: figures, curves from a file, and what is refused or warned about before time 0."""

from __future__ import annotations

import json

import pytest
from metronome.orchestrator.coupling.components import open_local, specify
from metronome.orchestrator.errors import InputError, NoEffectWarning
from metronome.orchestrator.scenario import loading
from metronome.orchestrator.scenario.memory import Memory
from metronome.orchestrator.scenario.unset import leave_out_unset
from pydantic import ValidationError

NODE = {"name": "n0", "accelerators": {"type": "h100-sxm", "count": 1}}


def scenario(memory, connects=("n0.dram",), memories=(), **network):
    nodes = [{**NODE, "memory": memory}]
    pcie = {"name": "pcie", "topology": "pcie", "type": "pcie5-x16"} | network
    cluster = {"nodes": nodes, "memories": list(memories)}
    cluster["networks"] = [{**pcie, "connects": ["n0.accelerators", *connects]}]
    instance = {"name": "a", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[0]"}
    workload = {
        "format": "synthetic",
        "num_requests": 2,
        "request_rate": 1,
        "input_tokens": {"mean": 8},
        "output_tokens": {"mean": 4},
    }
    return {"workload": workload, "cluster": cluster, "instances": [instance]}


def test_figures_are_the_parts_or_those_given():
    assert Memory(type="ddr5-5600", channels=8).figures().bandwidth_gb_s == pytest.approx(8 * 44.8 * 0.85)
    expander = Memory(type="cxl2-x8").figures()
    assert (expander.read_gb_s, expander.bandwidth_gb_s, expander.latency_ns) == pytest.approx((17.8, 27.2, 250))
    plain = Memory(bandwidth_gb_s=50, latency_ns=5).figures()
    assert (plain.read_gb_s, plain.write_gb_s, plain.bandwidth_gb_s, plain.latency_ns) == (50, 50, 50, 5)
    ways = Memory(read_gb_s=7, write_gb_s=5).figures()
    assert (ways.bandwidth_gb_s, ways.latency_ns) == (12, 0)
    assert Memory(type="cxl2-x8", read_gb_s=20).figures().read_gb_s == 20


def test_a_curve_comes_from_a_file_and_says_what_the_memory_can(tmp_path):
    (tmp_path / "c.csv").write_text("read_share,bandwidth_gb_s,latency_ns\n1,0,200\n1,17,900\n0.5,0,220\n0.5,27,950\n")
    (tmp_path / "s.yaml").write_text(loading.as_yaml(loading.of_mapping(scenario({"dram": {"type": "ddr5-4800"}}))))
    changes = {"cluster.nodes.0.memory.dram": {"loaded_latency": "c.csv"}}
    loaded, _ = loading.load(str(tmp_path / "s.yaml"), changes)
    figures = loaded.cluster.nodes[0].memory.dram.figures()
    assert (figures.read_gb_s, figures.write_gb_s, figures.bandwidth_gb_s, figures.latency_ns) == (17, 27, 27, 200)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("share,gb,ns\n1,0,200\n", "c.csv:1: header"),
        ("read_share,bandwidth_gb_s,latency_ns\n1,0,nan\n", "c.csv:2: row"),
        ("read_share,bandwidth_gb_s,latency_ns\n1,zero,2\n", "c.csv:2: row"),
        ("read_share,bandwidth_gb_s,latency_ns\n1,0,200\n1,5,150\n", "a latency never falls"),
        ("read_share,bandwidth_gb_s,latency_ns\n1.5,0,200\n", "less than or equal to 1"),
    ],
)
def test_a_curve_that_cannot_be_is_refused(tmp_path, text, told):
    (tmp_path / "c.csv").write_text(text)
    (tmp_path / "s.yaml").write_text(loading.as_yaml(loading.of_mapping(scenario({"dram": {"type": "ddr5-4800"}}))))
    with pytest.raises(InputError, match=told):
        loading.load(str(tmp_path / "s.yaml"), {"cluster.nodes.0.memory.dram": {"loaded_latency": "c.csv"}})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"type": "ddr5-560"}, "did you mean 'ddr5-5600'"),
        ({"size_gib": 5}, "give a type"),
        ({"type": "cxl2-x8", "channels": 2}, "by the channel"),
        ({"read_gb_s": 5}, "give a type"),
    ],
)
def test_a_memory_without_figures_is_refused(fields, told):
    with pytest.raises(ValidationError, match=told):
        Memory(**fields)


def test_a_network_has_its_memories_and_takes_a_model_that_knows_them(tmp_path):
    pool = {"name": "pool", "type": "cxl3-pool"}
    made = loading.of_mapping(scenario({"dram": {"type": "ddr5-4800"}}, ("n0.dram", "pool"), [pool]))
    spec = specify(made, tmp_path)[-1]
    assert spec.model == "fabric" and [memory["name"] for memory in spec.config["memories"]] == ["n0.dram", "pool"]
    plain = scenario({"dram": {"type": "ddr5-4800"}}, topology="switch", type=None, bandwidth_gb_s=9, latency_ns=1)
    with pytest.raises(InputError, match="does not know memories"):
        specify(loading.of_mapping(plain, {"components.pcie": {"model": "alpha-beta"}}), tmp_path)
    with pytest.raises(InputError, match="did you mean 'n0.dram'"):
        loading.of_mapping(scenario({"dram": {"type": "ddr5-4800"}}, ("n0.dran",)))


def test_a_memory_is_on_one_network():
    """Networks know nothing of one another: on two it would have its bandwidth twice."""
    given = scenario({"dram": {"type": "ddr5-4800"}}, ("n0.dram", "pool"), [{"name": "pool", "type": "cxl3-pool"}])
    other = {"name": "b", "connects": ["n0.accelerators", "pool"], "bandwidth_gb_s": 9, "latency_ns": 1}
    given["cluster"]["networks"].append(other)
    with pytest.raises(
        InputError, match=r"networks\.1\.connects = 'pool': is on network pcie already.*bandwidth is of one"
    ):
        loading.of_mapping(given)


def test_what_nothing_reaches_or_reads_is_warned_about(tmp_path):
    memory = {"cxl": {"type": "cxl2-x8"}, "dram": {"bandwidth_gb_s": 5, "energy_pj_per_bit": 6}}
    with pytest.warns(NoEffectWarning, match=r"n0.cxl has no effect: no network connects it"):
        specify(loading.of_mapping(scenario(memory)), tmp_path)


def test_a_scenario_that_names_none_of_it_keeps_its_digest():
    """What is hashed of one says nothing of what came with memories."""
    for name in ("quickstart", "tensor-parallel", "prefill-decode"):
        given, _ = loading.load(name)
        data = given.model_dump(mode="json")
        leave_out_unset(data)
        text = json.dumps(data)
        for word in ("memories", "cxl", "nvme", "channels", "loaded_latency", "offload"):
            assert word not in text, (name, word)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"topology": "ring"}, r"cluster\.networks\.pcie\.topology = 'ring': memories .* switch or pcie"),
        (
            {"topology": "switch", "scale_out": {"topology": "rail-optimised", "type": "infiniband-ndr"}},
            r"cluster\.networks\.pcie\.scale_out\.topology = 'rail-optimised': pool, of no node",
        ),
    ],
)
def test_a_layout_without_a_place_for_a_memory_is_named(tmp_path, network, told):
    given = scenario(
        {"dram": {"type": "ddr5-4800"}}, ("n0.dram", "pool"), [{"name": "pool", "type": "cxl3-pool"}], **network
    )
    spec = specify(loading.of_mapping(given), tmp_path)[-1]
    with pytest.raises(InputError, match=told):
        open_local(spec)

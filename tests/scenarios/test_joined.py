"""Networks that say no links have the usual ones of their devices, which is said where the catalog knows them."""

from __future__ import annotations

import json
from copy import deepcopy

import metronome
import pytest
import yaml
from metronome.hwmodels import catalog
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.joined import borrowed, joined
from metronome.orchestrator.scenario.loading import as_yaml, digest, load
from metronome.orchestrator.scenario.schema import Scenario

from ..small import SMALL

MINE = {"tflops": {"bf16": 400}, "memory_bandwidth_gb_s": 2000, "memory_gib": 64}


def scenario(network, kinds=("h100-sxm",), **more):
    data = deepcopy(SMALL) | more
    nodes = [{"name": f"n{i}", "accelerators": {"type": kind, "count": 4}} for i, kind in enumerate(kinds)]
    data["cluster"] = {"nodes": nodes, "networks": [{"name": "net", "connects": ["n0.accelerators"], **network}]}
    data["cluster"]["nodes"][0]["memory"] = {"dram": {"bandwidth_gb_s": 100, "latency_ns": 90}}
    return Scenario.model_validate(data)


def without_links(data):
    content = deepcopy(data)
    for figure in ("bandwidth_gb_s", "latency_ns"):
        del content["cluster"]["networks"][0][figure]
    return content


@pytest.mark.parametrize(
    ("device", "network", "links"),
    [
        ("H100", {}, ("nvlink4", "switch")),
        ("a100-80g-sxm", {}, ("nvlink3", "switch")),
        ("l40s", {}, ("pcie4-x16", "pcie")),
        ("l40s", {"topology": "ring"}, ("pcie4-x16", "ring")),
        ("l40s", {"type": "nvlink5"}, ("nvlink5", "switch")),
        ("mi300x", {}, ("xgmi3", "fully-connected")),
        ("mi325x", {"type": "xgmi3"}, ("xgmi3", "fully-connected")),
        ("mi300x", {"type": "xgmi3", "topology": "ring"}, ("xgmi3", "ring")),
        ("tpu-v6e", {}, ("ici-v6e", "torus")),
        ("Ironwood", {"topology": "ring"}, ("ici-v7", "ring")),
        ("tpu-v5p", {"type": "ici-v5p", "dims": [4, 1]}, ("ici-v5p", "torus")),
        ("mi355x", {"bandwidth_gb_s": 448, "latency_ns": 900}, (None, "switch")),
    ],
)
def test_the_usual_links_of_its_devices(device, network, links):
    found = scenario(network, (device,))
    assert (joined(found, 0).type, joined(found, 0).topology) == links
    assert bool(list(borrowed(found))) == (network.keys() <= {"topology"})


@pytest.mark.parametrize(
    ("network", "kinds", "message"),
    [
        ({}, ("mi355x",), "cluster.networks.0.type: how mi355x are joined is not known: give one of ethernet-100g"),
        ({}, ("a-simulator",), "how a-simulator are joined is not known"),
        ({"connects": ["n0.accelerators", "n0.dram"]}, ("h100-sxm",), "it connects n0.dram, too, which is no device"),
        ({"connects": ["n0.accelerators", "n1.accelerators"]}, ("h200", "h200"), "several nodes: or give scale_out"),
        (
            {"connects": ["n0.accelerators", "n1.accelerators"], "scale_out": {"type": "infiniband-ndr"}},
            ("h200", "b200"),
            "h200 and b200 are joined otherwise",
        ),
    ],
)
def test_where_there_is_no_one_way_it_is_asked_for(network, kinds, message):
    with pytest.raises(InputError, match=message):
        joined(scenario(network, kinds), 0)


def test_nodes_between_which_there_are_others():
    ends = {"connects": ["n0.accelerators", "n1.accelerators"], "scale_out": {"type": "infiniband-ndr"}}
    assert joined(scenario(ends, ("h200", "h200")), 0).type == "nvlink4"


def test_a_device_of_ones_own_says_it_and_nothing_is_borrowed():
    found = scenario({}, ("mine",), devices={"mine": {**MINE, "interconnect": "pcie5-x16"}})
    assert (joined(found, 0).type, list(borrowed(found))) == ("pcie5-x16", [])
    stands_for = scenario({}, ("h100-sxm",), devices={"h100-sxm": MINE})
    assert joined(stands_for, 0).type == "nvlink4" and len(list(borrowed(stands_for))) == 1


def test_a_run_is_that_with_these_links_and_says_so(tmp_path):
    bare = without_links(SMALL)
    said = deepcopy(bare)
    said["cluster"]["networks"][0]["type"] = "nvlink4"
    for name, content in (("bare", bare), ("said", said)):
        (tmp_path / f"{name}.yaml").write_text(json.dumps(content))
        metronome.run(tmp_path / f"{name}.yaml", out=tmp_path / name)
    rows = [(tmp_path / name / "requests.csv").read_bytes() for name in ("bare", "said")]
    assert rows[0] == rows[1]
    warned = [
        json.loads((tmp_path / name / "result.json").read_text())["metronome"]["warnings"] for name in ("bare", "said")
    ]
    text = "cluster.networks.0 (nvlink0) says no type: nvlink4 as topology switch, by which h100-sxm are usually joined"
    assert text in warned[0] and warned[1] == [other for other in warned[0] if other != text]


def test_validate_warns_and_refuses(tmp_path, cli):
    content = without_links(SMALL)
    path = tmp_path / "s.json"
    path.write_text(json.dumps(content))
    assert "says no type: nvlink4" in cli("validate", str(path)).output
    content["cluster"]["nodes"][0]["accelerators"]["type"] = "mi355x"
    path.write_text(json.dumps(content))
    refused = cli("validate", str(path))
    assert refused.exit_code == 2 and "cluster.networks.0.type: how mi355x are joined is not known" in refused.output


def test_half_a_figure_is_still_refused():
    with pytest.raises(ValueError, match="give a type, or bandwidth_gb_s and latency_ns"):
        scenario({"bandwidth_gb_s": 10})
    with pytest.raises(ValueError, match="give a type, or bandwidth_gb_s and latency_ns"):
        scenario({"scale_out": {}})


def test_every_interconnect_of_a_device_is_in_the_catalog():
    named = {catalog.device(name).interconnect for name in catalog.device_names()} - {""}
    assert named <= set(catalog.interconnect_names()) and len(named) == 10


def test_what_a_scenario_does_not_say_leaves_its_digest_as_it_was():
    """Digests of before these fields could be said: older recordings replay."""
    sglang = {"instances.0.engine": {"version": "sglang-0.5.5", "max_model_len": 8192}}
    mine = {"devices": {"mine": {"tflops": {"bf16": 1}, "memory_bandwidth_gb_s": 1, "memory_gib": 1}}}
    found = [digest(load("quickstart", overrides)[0])[:8] for overrides in (sglang, mine)]
    assert found == ["2686e644", "8ed28fa2"]
    changed = {"instances.0.engine": {**sglang["instances.0.engine"], "cuda_graph_max_bs": 8}}
    assert digest(load("quickstart", changed)[0])[:8] != "2686e644"


@pytest.mark.parametrize(
    ("device", "network"),
    [
        ("l40s", {}),
        ("tpu-v6e", {}),
        ("mi300x", {}),
        ("mi300x", {"type": "xgmi3"}),
        ("h100-sxm", {}),
        ("l40s", {"topology": "ring"}),
    ],
)
def test_what_a_run_leaves_is_joined_as_it_was(device, network):
    """Its scenario.yaml has every default written out."""
    found = scenario(network, (device,))
    again = Scenario.model_validate(yaml.safe_load(as_yaml(found)))
    assert joined(again, 0) == joined(found, 0) and digest(again) == digest(found)
    other = scenario({**network, "topology": "torus", "dims": [2]}, (device,))
    assert digest(other) != digest(found)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"type": "xgmi3", "topology": "switch"}, "xgmi3 joins two devices each: topology fully-connected"),
        ({"type": "xgmi3", "topology": "pcie"}, "xgmi3 joins two devices each"),
        ({"type": "nvlink4", "scale_out": {"type": "xgmi3"}}, "xgmi3 joins the devices of a node, not nodes"),
        ({"type": "nvlink4", "scale_out": {"type": "ici-v6e"}}, "ici-v6e joins the devices of a node, not nodes"),
        ({"type": "ici-v6e", "topology": "switch"}, "ici-v6e joins neighbours: topology torus"),
        ({"type": "ici-v6e", "topology": "fully-connected"}, "ici-v6e joins neighbours: topology torus"),
        ({"type": "xgmi3", "dims": [2, 2]}, "dims are of topology torus, this is fully-connected"),
    ],
)
def test_links_of_two_devices_are_no_switch(network, message):
    with pytest.raises(ValueError, match=message):
        scenario(network, ("mi300x",))


@pytest.mark.parametrize(
    ("device", "network", "message"),
    [
        ("tpu-v6e", {"topology": "switch"}, "ici-v6e joins neighbours: topology torus"),
        ("tpu-v5e", {"topology": "pcie"}, "ici-v5e joins neighbours: topology torus"),
        ("mi300x", {"topology": "switch"}, "xgmi3 joins two devices each"),
        ("mi300x", {"topology": "fully-connected", "dims": [2, 2]}, "dims are of topology torus, this is fully-conn"),
        ("h100-sxm", {"dims": [2, 2]}, "dims are of topology torus, this is switch"),
    ],
)
def test_the_usual_links_are_laid_out_no_other_way_than_those_that_are_named(device, network, message):
    with pytest.raises(InputError, match=message):
        joined(scenario(network, (device,)), 0)


def test_dims_are_of_the_usual_torus():
    found = joined(scenario({"dims": [1, 4]}, ("tpu-v6e",)), 0)
    assert (found.type, found.topology, found.dims) == ("ici-v6e", "torus", [1, 4])

"""Weights of an instance that starts: bytes over bandwidth, shared with whoever uses the same links."""

from __future__ import annotations

from copy import deepcopy

import metronome
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.lowering.models.load import load

from .test_failures import REPLICAS, described, failures, served

STORE_GB_S = 20
NIC_GB_S = 50
WEIGHTS = load("meta-llama/Llama-3.1-8B", lambda path: path, None).weight_bytes(1)


def starting(failing, **start_up):
    """Four replicas on two nodes, whose weights lie in a store (of all) and on drives (of each node)."""
    scenario = deepcopy(REPLICAS)
    for node in scenario["cluster"]["nodes"]:
        node["memory"] = {"nvme": {"read_gb_s": 8, "write_gb_s": 8, "size_gib": 1000}}
    scenario["cluster"]["memories"] = [{"name": "store", "bandwidth_gb_s": STORE_GB_S, "size_gib": 100}]
    everything = ["n0.accelerators", "n1.accelerators", "n0.nvme", "n1.nvme", "store"]
    scenario["cluster"]["networks"] = [
        {"name": "net", "connects": everything, "bandwidth_gb_s": NIC_GB_S, "latency_ns": 1000, "topology": "switch"}
    ]
    scenario["workload"] |= {"num_requests": 200, "request_rate": 20}
    scenario["failures"] = [{"at_s": 0.5, "instance": name, "repair_s": 0.25} for name in failing]
    scenario["start_up"] = {"base_s": 0.5, **start_up}
    return scenario


def loading_s(result, name):
    return result["metronome"]["availability"]["instances"][name]["starting_s"] - 0.5


@pytest.mark.parametrize("failing", [["chat-0"], ["chat-0", "chat-2"], ["chat-0", "chat-1", "chat-2"]])
def test_instances_that_load_at_once_share_the_store(failing):
    result = metronome.run(starting(failing, weights_from="store"))
    for name in failing:
        assert loading_s(result, name) == pytest.approx(len(failing) * WEIGHTS / (STORE_GB_S * 1e9), rel=0.01)
    loads = result["metronome"]["availability"]["weights"]
    assert loads == {"store": {"loads": len(failing), "bytes": len(failing) * WEIGHTS}}


def test_drives_of_two_nodes_are_two():
    result = metronome.run(starting(["chat-0", "chat-2"], weights_from="nvme"))
    for name in ("chat-0", "chat-2"):
        assert loading_s(result, name) == pytest.approx(WEIGHTS / 8e9, rel=0.01)


def test_a_peer_gives_its_weights_at_the_rate_of_its_link_and_two_share_it():
    one = metronome.run(starting(["chat-1"], weights_from="store", from_peers=True))
    assert loading_s(one, "chat-1") == pytest.approx(WEIGHTS / (NIC_GB_S * 1e9), rel=0.01)
    two = metronome.run(starting(["chat-1", "chat-2"], weights_from="store", from_peers=True))
    for name in ("chat-1", "chat-2"):
        assert loading_s(two, name) == pytest.approx(2 * WEIGHTS / (NIC_GB_S * 1e9), rel=0.01)
    assert list(two["metronome"]["availability"]["weights"]) == ["chat-0"]


def test_where_nobody_serves_they_come_from_the_memory():
    result = metronome.run(starting(["*"], weights_from="store", from_peers=True))
    assert list(result["metronome"]["availability"]["weights"]) == ["store"]


def test_a_peer_that_fails_meanwhile_has_given_nothing():
    scenario = starting(["chat-1"], weights_from="store", from_peers=True)
    scenario["failures"].append({"at_s": 1.4, "instance": "chat-0", "repair_s": 10})
    result = metronome.run(scenario)
    assert list(result["metronome"]["availability"]["weights"]) == ["chat-0", "chat-2"]
    first = 1.4 - (0.5 + 0.25 + 0.5)  # what chat-0 gave until it failed, but for the layer on its way
    layer_s = WEIGHTS / 32 / (NIC_GB_S * 1e9)
    assert 0 <= loading_s(result, "chat-1") - WEIGHTS / (NIC_GB_S * 1e9) - first < 1.1 * layer_s


def test_one_that_fails_while_it_starts_starts_again():
    scenario = starting(["chat-1"], weights_from="store")
    scenario["failures"].append({"at_s": 1.5, "instance": "chat-1", "repair_s": 2})
    result = metronome.run(scenario)
    assert result["metronome"]["availability"]["weights"]["store"]["loads"] == 2
    assert result["completed"] == 200
    again = metronome.run(scenario)
    assert result.requests == again.requests and result.series == again.series


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failures, st.booleans(), st.integers(0, 9))
def test_every_request_ends_once_whoever_fails_while_loading(tmp_path, drawn, from_peers, seed):
    scenario = starting([], weights_from="store", from_peers=from_peers)
    scenario |= {"seed": seed, "failures": described(drawn, [f"chat-{i}" for i in range(4)])}
    for failure in scenario["failures"]:
        if "mtbf_s" in failure:
            failure["mtbf_s"] += 10  # longer than all four take to load, or nobody ever would
    scenario["workload"]["num_requests"] = 60
    served(scenario, tmp_path)


def test_ranks_read_what_they_keep():
    scenario = starting(["chat-0"], weights_from="store")
    scenario["instances"][0] |= {"tensor_parallel_size": 2, "replicas": 2}
    result = metronome.run(scenario)
    assert loading_s(result, "chat-0") == pytest.approx(WEIGHTS / (STORE_GB_S * 1e9), rel=0.01)


def test_scaled_instances_load_too():
    scenario = starting([], weights_from="store")
    scenario["autoscaling"] = [
        {"instance": "chat", "min_replicas": 1, "policy": "queue", "target": 0.5, "period_s": 0.5}
    ]
    scenario["workload"] |= {"num_requests": 400, "request_rate": 200}
    result = metronome.run(scenario)
    assert result["metronome"]["availability"]["weights"]["store"]["loads"] >= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_from": "sotre"}, r"start_up\.weights_from = 'sotre': no memory sotre; did you mean 'store'"),
        ({"weights_from": "dram"}, r"start_up\.weights_from = 'dram': no memory n0\.dram"),
        ({"weights_from": "store", "weights_gb_s": 3}, "give weights_gb_s or weights_from"),
        ({"from_peers": True}, "from_peers needs weights_from"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        metronome.run(starting(["chat-0"], **change))


def test_a_store_without_room_or_link_is_refused():
    scenario = starting(["chat-0"], weights_from="store")
    scenario["cluster"]["memories"][0]["size_gib"] = 10
    with pytest.raises(InputError, match=r"weights_from.*15\.0 GiB would lie in store, which has 10 GiB"):
        metronome.run(scenario)
    scenario = starting(["chat-0"], weights_from="store")
    scenario["cluster"]["networks"][0]["connects"].remove("store")
    with pytest.raises(InputError, match="no link reaches it"):
        metronome.run(scenario)
    scenario = starting(["chat-0"], weights_from="store", from_peers=True)
    scenario["instances"][0] |= {"replicas": 1, "tensor_parallel_size": 4}
    with pytest.raises(InputError, match="from_peers = True: no two instances"):
        metronome.run(scenario)

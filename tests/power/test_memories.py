"""Joules of memories: K and V in and out of tiers, and streamed weights, cost what the memory says of a bit."""

from __future__ import annotations

import copy

import metronome
import pytest
from metronome.orchestrator.debug.session import DebugSession
from metronome.orchestrator.scenario.inputs import Inputs
from metronome.orchestrator.source import LiveSource

from ..memory.small import TIERED, tiered
from ..memory.test_weights import STREAMED
from .test_ledger import adds_up


def test_k_and_v_in_tiers_cost_the_memory_its_bits():
    scenario = copy.deepcopy(TIERED)
    plain = metronome.run(copy.deepcopy(scenario))["metronome"]
    assert {"n0.dram", "pcie"} <= set(plain["energy_excludes"])  # whose joules a bit are not known
    scenario["cluster"]["memories"][0]["energy_pj_per_bit"] = 1000
    scenario["kv_offloading"]["tiers"] += [{"name": "pool", "memory": "pool", "shared_by": "cluster"}]
    result = metronome.run(scenario)
    own = result["metronome"]
    moved = own["kv_tiers"]["pool"]["bytes_in"] + own["kv_tiers"]["pool"]["bytes_out"]
    assert moved and own["energy_by_part_j"][""]["pool"] == pytest.approx(moved * 8 * 1000e-12)
    assert "pool" not in own["energy_excludes"]
    adds_up(result)


def test_a_memory_of_a_node_is_behind_its_supplies():
    scenario = copy.deepcopy(TIERED)
    node = scenario["cluster"]["nodes"][0]
    node["power"] = {"psu_efficiency": 0.5}
    node["memory"]["cxl"]["energy_pj_per_bit"] = 1000
    scenario["kv_offloading"]["tiers"][0] |= {"memory": "cxl"}
    result = metronome.run(scenario)
    own = result["metronome"]
    tier, parts = own["kv_tiers"]["host"], own["energy_by_part_j"]["n0"]
    assert parts["cxl"] == pytest.approx((tier["bytes_in"] + tier["bytes_out"]) * 8 * 1000e-12)
    assert parts["psu"] == pytest.approx(sum(joules for part, joules in parts.items() if part != "psu"))
    adds_up(result)


def test_streamed_weights_cost_the_memory_its_bits():
    scenario = copy.deepcopy(STREAMED)
    assert "box" in metronome.run(copy.deepcopy(scenario))["metronome"]["energy_excludes"]
    scenario["cluster"]["memories"][0]["energy_pj_per_bit"] = 10
    result = metronome.run(scenario)
    own = result["metronome"]
    moved = own["weight_offloading"]["a"]["bytes"]
    assert own["energy_by_part_j"][""]["box"] == pytest.approx(moved * 8 * 10e-12, rel=1e-9)
    assert "box" not in own["energy_excludes"]
    adds_up(result)


def test_it_is_set_in_the_middle_of_a_run(tmp_path):
    """Of a debugger's session: from then on moves cost it."""
    scenario = tiered(kv_offloading__tiers__0__memory="cxl")
    with DebugSession.live(scenario, Inputs(tmp_path), LiveSource(None)) as session:
        session.seek(40)
        session.set("cluster.nodes.0.memory.cxl.energy_pj_per_bit", "1000")
        assert ("n0.cxl", "") not in session.simulation.ports.spent.of
        session.run()
        assert sum(session.simulation.ports.spent.of["n0.cxl", ""].energy_pj) > 0

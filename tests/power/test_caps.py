"""A cap slows arithmetic down and leaves memory alone: prompts feel it, decodes hardly."""

from __future__ import annotations

from copy import deepcopy

import metronome
import pytest
from metronome.hwmodels.accelerator.draw import LOWEST_VOLTAGE, voltage
from metronome.hwmodels.accelerator.roofline import Roofline
from metronome.hwmodels.catalog import device
from metronome.hwmodels.interface import ConfigError, Template
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.schema import Scenario

from .test_ledger import adds_up, power

H100 = device("h100-sxm")
GEMM = Template(1, "gemm", "qkv_proj", {"n": 6144, "k": 4096, "dtype": "bf16"})
PROMPT, DECODE = (4096,), (8,)


def estimate(values, cap=None):
    model = Roofline({"device": "h100-sxm"} | ({} if cap is None else {"power_cap_w": cap}))
    model.declare([GEMM])
    return model.estimate(GEMM, values)


def watts(done):
    return H100.standby_w + done.energy_pj / done.duration_ps


@pytest.mark.parametrize("cap", [700, 420, 300, 200, 150, 116])
def test_no_kernel_draws_more_than_the_cap(cap):
    for values in (PROMPT, DECODE):
        assert watts(estimate(values, cap)) <= cap


def test_a_cap_above_what_is_drawn_changes_nothing():
    for values in (PROMPT, DECODE):
        assert estimate(values, 2000) == estimate(values)


def test_at_60_percent_of_the_limit_decodes_slow_down_less_than_prompts():
    """Of decodes on H200s no cap down to 300 of 700 W had any effect (Ma et al., arXiv:2605.11999)."""
    cap = 0.6 * H100.active_w
    slower = [estimate(values, cap).duration_ps / estimate(values).duration_ps for values in (PROMPT, DECODE)]
    assert slower[0] > 1.5 and slower[1] < 1.05


def test_a_lower_cap_never_makes_a_kernel_quicker():
    for values in (PROMPT, DECODE):
        caps = (900, 700, 600, 500, 420, 350, 300, 250, 200, 180, 160, 150, 130, 116)
        times = [estimate(values, cap).duration_ps for cap in caps]
        assert times == sorted(times)


def test_voltage_follows_the_clock_down_to_a_floor():
    assert [voltage(clock) for clock in (1, 0.9, LOWEST_VOLTAGE, 0.3)] == [1, 0.9, LOWEST_VOLTAGE, LOWEST_VOLTAGE]


def test_a_cap_below_standby_is_refused():
    with pytest.raises(ConfigError, match="must be above what it draws with nothing to do, 115"):
        Roofline({"device": "h100-sxm", "power_cap_w": 100})
    with pytest.raises(InputError, match=r"power.cap_w: leaves 10 W for an accelerator, which draws 115 W"):
        metronome.run(power(cap_w=300 + 270 + 30))


def test_a_node_shares_its_cap_among_accelerators():
    cluster = Scenario.model_validate(power(cap_w=300 + 270 + 1200)).cluster
    assert cluster.accelerators_cap_w(cluster.nodes[0]) == (400, "cluster.nodes.n0.power.cap_w")
    cluster = Scenario.model_validate(power(cap_w=300 + 270 + 1200, accelerator_cap_w=350)).cluster
    assert cluster.accelerators_cap_w(cluster.nodes[0]) == (350, "cluster.nodes.n0.power.accelerator_cap_w")


def racked(cap_w, *nodes):
    """Two nodes of 3 and 1 accelerators, in one rack."""
    scenario = deepcopy(power())
    scenario["cluster"]["nodes"].append({"name": "n1", "accelerators": {"type": "h100-sxm", "count": 1}})
    scenario["cluster"]["racks"] = [{"name": "r0", "nodes": list(nodes) or ["n0", "n1"], "cap_w": cap_w}]
    return scenario


def test_a_rack_shares_its_cap_among_accelerators_of_its_nodes():
    cluster = Scenario.model_validate(racked(300 + 270 + 4 * 250)).cluster
    caps = [cluster.accelerators_cap_w(node) for node in cluster.nodes]
    assert caps == [(250, "cluster.racks.r0.cap_w")] * 2
    free, capped = metronome.run(racked(10_000)), metronome.run(racked(300 + 270 + 4 * 250))
    adds_up(capped)
    assert capped["mean_ttft_ms"] > free["mean_ttft_ms"]
    assert max(row[-1] for row in capped.series.rows) <= max(row[-1] for row in free.series.rows)


@pytest.mark.parametrize(
    ("cap_w", "nodes", "why"),
    [
        (600, (), "cluster.racks.r0.cap_w: leaves 7.5 W for an accelerator"),
        (5000, ("n0", "n2"), "racks: no node n2; there are n0, n1"),
        (5000, ("n0", "n0"), "node in a rack"),
    ],
)
def test_a_rack_that_cannot_be_is_refused(cap_w, nodes, why):
    with pytest.raises((InputError, ValueError), match=why):
        metronome.run(racked(cap_w, *nodes))


def test_a_capped_run_draws_less_takes_longer_and_adds_up():
    free, capped = metronome.run(power()), metronome.run(power(accelerator_cap_w=250))
    adds_up(capped)
    slower = [capped[key] / free[key] for key in ("mean_ttft_ms", "mean_tpot_ms")]
    assert slower[0] > slower[1] > 1
    parts = [run["metronome"]["energy_by_part_j"]["n0"]["accelerators"] for run in (free, capped)]
    assert parts[1] < parts[0]
    clock = capped["metronome"]["components"]["n0.accelerators"]["statistics"]["mean_clock"]
    assert 0.5 < clock < 1


def test_a_model_that_knows_no_caps_says_so():
    scenario = deepcopy(power(accelerator_cap_w=250))
    scenario["components"] = {"n0.accelerators": {"model": "systolic"}}
    with pytest.warns(UserWarning, match="power.accelerator_cap_w has no effect: systolic"):
        metronome.run(scenario)

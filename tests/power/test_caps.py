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
    node = Scenario.model_validate(power(cap_w=300 + 270 + 1200)).cluster.nodes[0]
    assert node.power.accelerators_cap_w(3) == (400, "cap_w")
    node = Scenario.model_validate(power(cap_w=300 + 270 + 1200, accelerator_cap_w=350)).cluster.nodes[0]
    assert node.power.accelerators_cap_w(3) == (350, "accelerator_cap_w")


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

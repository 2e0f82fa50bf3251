"""Where a run's joules went: every part has an account, and they add up."""

from __future__ import annotations

from copy import deepcopy
from io import StringIO

import metronome
import pytest
from metronome.hwmodels.catalog import device
from metronome.orchestrator.coupling.spent import Entries
from metronome.orchestrator.errors import InputError, NoEnergyWarning
from metronome.orchestrator.report.table import show
from metronome.orchestrator.scenario.schema import Scenario
from metronome.orchestrator.units import PS_PER_S
from rich.console import Console

H100 = device("h100-sxm")
PARTS = {"cpu": {"idle_w": 100, "busy_w": 250}, "nics": {"idle_w": 20}}
SCENARIO = {
    "workload": {
        "format": "synthetic",
        "num_requests": 12,
        "request_rate": 4,
        "input_tokens": {"distribution": "fixed", "mean": 500},
        "output_tokens": {"distribution": "fixed", "mean": 40},
    },
    "cluster": {
        "nodes": [
            {
                "name": "n0",
                "accelerators": {"type": "h100-sxm", "count": 3},
                "power": {"base_w": 300, "parts": PARTS, "psu_efficiency": 0.8},
            }
        ],
        "networks": [{"name": "link", "connects": ["n0.accelerators"], "type": "nvlink4", "energy_pj_per_bit": 5}],
    },
    "instances": [
        {
            "name": "chat",
            "model": "meta-llama/Llama-3.1-8B",
            "accelerators": "n0[0:2]",
            "tensor_parallel_size": 2,
        }
    ],
}


def power(**changes):
    scenario = deepcopy(SCENARIO)
    scenario["cluster"]["nodes"][0]["power"] |= changes
    return scenario


def integral(result):
    """Of the series: each second's watts, the last second as long as the run was in it."""
    series = result.series
    watts = [dict(zip(series.columns, row, strict=True))["power_w"] for row in series.rows]
    end = result["metronome"]["simulated_s"]
    return sum(w * min(1.0, end - second) for second, w in enumerate(watts))


def adds_up(result):
    own = result["metronome"]
    parts = sum(sum(parts.values()) for parts in own["energy_by_part_j"].values())
    assert parts == pytest.approx(own["energy_j"], rel=1e-9)
    assert integral(result) == pytest.approx(own["energy_j"], rel=1e-9)


def test_parts_of_a_node():
    result = metronome.run(SCENARIO)
    own = result["metronome"]
    seconds, parts = own["simulated_s"], own["energy_by_part_j"]["n0"]
    assert set(parts) == {"base", "cpu", "nics", "accelerators idle", "accelerators awake", "accelerators", "psu"}
    assert parts["base"] == pytest.approx(300 * seconds) and parts["nics"] == pytest.approx(20 * seconds)
    assert parts["accelerators idle"] == pytest.approx(3 * H100.idle_w * seconds)
    assert parts["accelerators awake"] == pytest.approx(2 * (H100.standby_w - H100.idle_w) * seconds)
    busy_s = (parts["cpu"] - 100 * seconds) / 150
    assert 0 < busy_s < seconds
    assert parts["psu"] == pytest.approx(0.25 * sum(value for part, value in parts.items() if part != "psu"))
    assert own["energy_by_part_j"][""]["link"] > 0
    adds_up(result)


@pytest.mark.parametrize("held_s", [0, 0.05, 1000])
def test_accelerators_stay_awake_after_work(held_s):
    own = metronome.run(power(standby_s=held_s))["metronome"]
    awake = own["energy_by_part_j"]["n0"]["accelerators awake"] / 2 / (H100.standby_w - H100.idle_w)
    whole = own["simulated_s"]
    first = metronome.run(power(standby_s=0))["metronome"]["energy_by_part_j"]["n0"]["accelerators awake"]
    if held_s == 1000:  # from its first work on
        assert 0.5 * whole < awake < whole
    else:
        assert first / 2 / (H100.standby_w - H100.idle_w) <= awake < whole


def test_idle_and_failed_runs_add_up():
    nobody = deepcopy(SCENARIO)
    nobody["workload"] |= {"num_requests": 1, "input_tokens": {"distribution": "fixed", "mean": 10**6}}
    result = metronome.run(nobody)  # its only request is refused
    assert result["completed"] == 0
    adds_up(result)
    failing = deepcopy(SCENARIO) | {"failures": [{"at_s": 1, "instance": "chat", "repair_s": 0.5}]}
    failing["start_up"] = {"base_s": 1, "weights_gb_s": 10}
    adds_up(metronome.run(failing))


def test_a_part_that_draws_less_when_busy_is_refused():
    with pytest.raises(ValueError, match=r"parts.cpu.busy_w = 5 is below its idle_w, 10"):
        Scenario.model_validate(power(parts={"cpu": {"idle_w": 10, "busy_w": 5}}))
    with pytest.raises(ValueError, match=r"parts.base: has an account of its own"):
        Scenario.model_validate(power(parts={"base": {"idle_w": 10}}))


def test_states_out_of_order_are_refused():
    facts = {"tflops": {"bf16": 100}, "memory_bandwidth_gb_s": 1000, "memory_gib": 80, "idle_w": 50, "active_w": 40}
    scenario = deepcopy(SCENARIO) | {"devices": {"mine": facts}}
    scenario["cluster"]["nodes"][0]["accelerators"]["type"] = "mine"
    with pytest.raises((InputError, ValueError), match="none may be below the one before it"):
        metronome.run(scenario)


def test_operations_of_one_second_take_the_room_of_one():
    entries = Entries("n0.accelerators")
    for place in range(1000):
        entries.gather(5 + place, 7 + place, 3)
    entries.gather(20, 30, 0)  # nothing is known of it
    entries.gather(PS_PER_S - 5, PS_PER_S + 5, 10)
    entries.gather(PS_PER_S + 1, PS_PER_S + 2, 4)
    assert [list(column) for column in entries.columns] == [
        [5, PS_PER_S - 5, PS_PER_S + 1], [1006, PS_PER_S + 5, PS_PER_S + 2], [3000, 10, 4]
    ]  # fmt: skip


def two_nodes(**instance):
    """Two H100 on each of two nodes, and what is alike of both."""
    scenario = deepcopy(SCENARIO)
    (node,) = scenario["cluster"]["nodes"]
    node["accelerators"]["count"] = 2
    node["power"] |= {"standby_s": 0.05}
    scenario["cluster"]["nodes"].append({**deepcopy(node), "name": "n1"})
    network = {"name": "link", "connects": ["n0.accelerators", "n1.accelerators"], "type": "nvlink4"}
    scenario["cluster"]["networks"] = [{**network, "scale_out": {"type": "infiniband-ndr"}}]
    scenario["instances"][0] |= {"accelerators": ["n0[0:2]", "n1[0:2]"], **instance}
    return scenario


def test_ranks_in_step_draw_where_they_are():
    """Four tensor-parallel ranks, two a node: one component is asked, and either node draws the same."""
    result = metronome.run(two_nodes(tensor_parallel_size=4))
    parts = result["metronome"]["energy_by_part_j"]
    assert {"accelerators", "accelerators awake", "cpu"} <= set(parts["n0"])
    assert parts["n0"] == pytest.approx(parts["n1"], rel=1e-6)
    adds_up(result)


def test_parallel_members_draw_as_replicas_do():
    """Data-parallel members of a model without experts step on their own: each is awake after work of its own."""
    members = two_nodes(tensor_parallel_size=2, data_parallel_size=2)
    replicas = two_nodes(tensor_parallel_size=2, replicas=2)
    for one in (members, replicas):
        one["router"] = {"policy": "round-robin"}
    first, second = (metronome.run(one) for one in (members, replicas))
    adds_up(first)
    spent = first["metronome"]["energy_by_part_j"]
    assert spent == second["metronome"]["energy_by_part_j"] and spent["n0"]["accelerators awake"] > 0
    idle_only = PARTS["cpu"]["idle_w"] * first["metronome"]["simulated_s"]
    assert spent["n1"]["cpu"] > idle_only


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"cluster": {"power": {"accelerator_cap_w": 300}}}, "power: the cap of an accelerator"),
        ({"components": {"n1.accelerators": {"memory_efficiency": 0.2}}}, "components.NODE.accelerators"),
        ({"components": {"n1.hbm": {"bandwidth_gb_s": 100}}}, "components.NODE.hbm"),
    ],
)
def test_ranks_in_step_are_of_nodes_alike(change, what):
    scenario = two_nodes(tensor_parallel_size=4)
    scenario["cluster"]["nodes"][1]["power"] |= change.pop("cluster", {}).get("power", {})
    with pytest.raises(InputError, match=f"instances.0.accelerators .* n0 and n1 are not alike in {what}"):
        metronome.run(scenario | change)


def test_a_slow_component_of_ranks_in_step_is_the_one_that_is_asked():
    scenario = two_nodes(tensor_parallel_size=4)
    scenario["failures"] = [{"component": "n1.accelerators", "slowdown": 10, "at_s": 0}]
    with pytest.raises(
        InputError, match=r"failures.0.component .* work in step with those of n0: name n0.accelerators"
    ):
        metronome.run(scenario)


def test_who_says_what_a_device_draws_idle_says_what_it_draws_awake():
    """The type is the catalog's for its memory alone: 40 W, and 210 more in every kernel."""
    scenario = power(base_w=0, parts={}, psu_efficiency=1)
    scenario["components"] = {
        "n0.accelerators": {
            **{"model": "systolic", "rows": 256, "columns": 256, "dataflow": "ws", "clock_mhz": 1000},
            **{"idle_w": 40, "active_w": 250},
        }
    }
    result = metronome.run(scenario)
    parts, end_s = result["metronome"]["energy_by_part_j"]["n0"], result["metronome"]["simulated_s"]
    assert parts["accelerators idle"] == pytest.approx(3 * 40 * end_s) and "accelerators awake" not in parts
    assert parts["accelerators"] <= 2 * 210 * end_s


def printed(result):
    """The table of a run."""
    text = StringIO()
    show(result.metrics, Console(file=text, width=300))
    return text.getvalue()


def test_pim_that_says_no_energies_is_not_free():
    """A router that compares energies says so, and the sum of a run says that it is left out."""
    scenario = power()
    scenario["cluster"]["nodes"][0]["memory"] = {"pim": {"part": "lpddr5-pim", "devices_per_accelerator": 40}}
    scenario["instances"][0] |= {"decode_attention": "pim", "tensor_parallel_size": 1, "accelerators": "n0[0]"}
    result = metronome.run(scenario)
    assert result["metronome"]["energy_excludes"] == ["n0.pim"]
    assert "J per output token; without n0.pim, which say none" in printed(result)
    scenario["router"] = {"policy": "least-energy"}
    with pytest.warns(NoEnergyWarning, match="^n0.pim say no energies: router.policy least-energy takes their work as"):
        metronome.run(scenario)

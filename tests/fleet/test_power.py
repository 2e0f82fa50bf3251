"""What accelerators draw while the instances on them are off."""

from __future__ import annotations

import json
from copy import deepcopy

import metronome
import pytest
import yaml
from metronome.hwmodels.catalog import device
from metronome.orchestrator.power.energy import joules, static_steps, watts_by_second
from metronome.orchestrator.scenario.schema import Scenario

from .test_failures import REPLICAS

IDLE_W = device("h100-sxm").idle_w
#: Two of four replicas serve all along: load never asks for more.
SCALED = deepcopy(REPLICAS) | {
    "autoscaling": [
        {"instance": "chat", "min_replicas": 2, "policy": "queue", "target": 1000, "period_s": 0.1},
    ],
}


def scaled(**power):
    scenario = deepcopy(SCALED)
    for node in scenario["cluster"]["nodes"]:
        node["power"] = {"base_w": 100, **power}
    return scenario


@pytest.mark.parametrize("off_w", [0, 25])
def test_what_is_off_draws_what_its_node_says(off_w):
    """Two of four devices are off all along, and one that is off draws so much less."""
    on, off = metronome.run(scaled(off_w=IDLE_W)), metronome.run(scaled(off_w=off_w))
    found = off["metronome"]["availability"]["instances"]
    seconds = found["chat-3"]["off_s"]
    assert [one.get("off_s", 0) for one in found.values()] == [0, 0, seconds, seconds] and seconds >= off["duration"]
    saved = on["metronome"]["energy_j"] - off["metronome"]["energy_j"]
    assert saved == pytest.approx(2 * (IDLE_W - off_w) * seconds)
    power = [dict(zip(run.series.columns, run.series.rows[0], strict=True))["power_w"] for run in (on, off)]
    assert power[0] - power[1] == pytest.approx(2 * (IDLE_W - off_w))


def test_a_failed_instance_keeps_its_devices_powered():
    scenario = deepcopy(SCALED) | {"failures": [{"at_s": 0.1, "instance": "chat-*", "repair_s": 0.2}]}
    del scenario["autoscaling"]
    drawn = static_steps(Scenario.model_validate(scenario), [("chat-0", "failed", 5), ("chat-0", "starting", 9)])
    assert drawn == [(0, 4 * IDLE_W)]


def test_devices_are_off_while_their_instance_is():
    scenario = Scenario.model_validate(SCALED)
    told = [("chat-3", "off", 0), ("chat-0", "off", 2), ("chat-0", "off", 3), ("chat-0", "starting", 7)]
    assert static_steps(scenario, [*told, ("chat-0", "serving", 9)]) == [
        (0, 4 * IDLE_W), (0, 3 * IDLE_W), (2, 2 * IDLE_W), (7, 3 * IDLE_W)
    ]  # fmt: skip


def test_joules_are_the_integral_of_the_steps_and_watts_their_mean():
    steps = [(0, 10.0), (2 * 10**12, 4.0), (int(4.5 * 10**12), 7.0)]
    assert [joules(steps[:1], 3 * 10**12), joules(steps, 6 * 10**12)] == [30, 20 + 10 + 10.5]
    assert watts_by_second(steps, 6).tolist() == [10, 10, 4, 4, 5.5, 7]
    assert watts_by_second(steps, 2).tolist() == [10, 10]


def test_a_trace_has_it_over_time(tmp_path, cli):
    pytest.importorskip("perfetto")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scaled()))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--trace").exit_code == 0
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

    trace = Trace()
    (path,) = (tmp_path / "out").glob("*.pftrace*")
    trace.ParseFromString(path.read_bytes())
    values = {packet.track_event.double_counter_value for packet in trace.packet}
    assert {200 + 4 * IDLE_W, 200 + 2 * IDLE_W} <= values
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["energy_j"] > 0

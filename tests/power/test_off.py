"""What accelerators draw while the instances on them are off."""

from __future__ import annotations

import json
from copy import deepcopy

import metronome
import pytest
import yaml
from metronome.hwmodels.catalog import device
from metronome.orchestrator.power.devices import off_stretches

from ..fleet.test_failures import REPLICAS

IDLE_W, STANDBY_W = device("h100-sxm").idle_w, device("h100-sxm").standby_w
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
    """Two of four devices are off all along, and one that is off draws so much less, and is not awake."""
    on, off = metronome.run(scaled(off_w=IDLE_W)), metronome.run(scaled(off_w=off_w))
    found = off["metronome"]["availability"]["instances"]
    seconds = found["chat-3"]["off_s"]
    assert [one.get("off_s", 0) for one in found.values()] == [0, 0, seconds, seconds] and seconds >= off["duration"]
    saved = on["metronome"]["energy_j"] - off["metronome"]["energy_j"]
    assert saved == pytest.approx(2 * (IDLE_W - off_w) * seconds)
    awake = sum(parts.get("accelerators awake", 0) for parts in off["metronome"]["energy_by_part_j"].values())
    assert awake == pytest.approx(2 * (STANDBY_W - IDLE_W) * off["metronome"]["simulated_s"])
    power = [dict(zip(run.series.columns, run.series.rows[0], strict=True))["power_w"] for run in (on, off)]
    assert power[0] - power[1] == pytest.approx(2 * (IDLE_W - off_w))


def test_when_instances_are_off():
    told = [("chat-3", "off", 0), ("chat-0", "off", 2), ("chat-0", "off", 3), ("chat-0", "starting", 7)]
    told += [("chat-0", "serving", 9), ("chat-1", "failed", 10)]
    assert off_stretches(told, 12) == {"chat-0": [(2, 7)], "chat-3": [(0, 12)]}


def test_a_trace_has_it_over_time(tmp_path, cli):
    pytest.importorskip("perfetto")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scaled()))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet", "--trace").exit_code == 0
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace

    trace = Trace()
    (path,) = (tmp_path / "out").glob("*.pftrace*")
    trace.ParseFromString(path.read_bytes())
    values = {packet.track_event.double_counter_value for packet in trace.packet}
    assert max(values) > 200 + 2 * IDLE_W + 2 * STANDBY_W
    assert json.loads((tmp_path / "out/result.json").read_text())["metronome"]["energy_j"] > 0

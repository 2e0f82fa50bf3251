"""Weights off the devices: a step takes what its bytes take, users share, and the room is the KV cache's."""

from __future__ import annotations

import copy
import json

import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario import loading
from metronome.orchestrator.simulation import Simulation

BANDWIDTH = 60e9
STREAMED = {
    "name": "streamed",
    "workload": {
        "format": "synthetic",
        "num_requests": 1,
        "request_rate": 100,
        "input_tokens": {"mean": 64, "sigma": 0, "max": 64},
        "output_tokens": {"mean": 12, "sigma": 0, "max": 12},
    },
    "cluster": {
        "nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 3}}],
        "memories": [{"name": "box", "bandwidth_gb_s": BANDWIDTH / 1e9, "size_gib": 512, "latency_ns": 250}],
        "networks": [{"name": "net", "connects": ["n0.accelerators", "box"], "bandwidth_gb_s": 200, "latency_ns": 500}],
    },
    "instances": [
        {
            "name": "a",
            "model": "meta-llama/Llama-3.1-70B",
            "accelerators": ["n0[0]"],
            "engine": {"version": "ideal", "max_model_len": 4096},
            "weight_offloading": {"memory": "box", "prefetch_step": 1},
        }
    ],
    "router": {"policy": "round-robin"},
}


def ran(tmp_path, instances=1, **changes):
    content = copy.deepcopy(STREAMED)
    content["instances"][0]["replicas"] = instances
    content["instances"][0]["accelerators"] = [f"n0[{i}]" for i in range(instances)]
    content["workload"]["num_requests"] = instances
    given = {path.replace("__", "."): value for path, value in changes.items()}
    with Simulation(loading.of_mapping(content, given), tmp_path) as simulation:
        simulation.run()
    return simulation


def decode_s(simulation, engine=0):
    """Of the last whole steps of an engine."""
    ends = simulation.recorder.logs[engine].end_ps
    return (ends[8] - ends[4]) / 4e12


def layer_bytes(simulation):
    arch = simulation.units[0].arch
    return arch.weight_bytes(1, ends=0)


@pytest.mark.parametrize("ahead", [1, 2, 8])
def test_a_decode_step_is_bytes_over_bandwidth(tmp_path, ahead):
    run = ran(tmp_path, instances__0__weight_offloading__prefetch_step=ahead)
    assert decode_s(run) == pytest.approx(layer_bytes(run) / BANDWIDTH, rel=0.01)
    assert 2.2 < decode_s(run) < 2.4  # 137 GB at 60 GB/s


@pytest.mark.parametrize("users", [2, 3])
def test_instances_on_one_expander_take_as_many_times_as_long(tmp_path, users):
    alone = decode_s(ran(tmp_path))
    run = ran(tmp_path, users, workload__request_rate=1e6)
    for engine in range(users):
        assert decode_s(run, engine) == pytest.approx(users * alone, rel=0.01)


def test_on_links_of_their_own_they_do_not_meet(tmp_path):
    apart = {
        "cluster__memories": [{"name": f"m{i}", "bandwidth_gb_s": 60, "size_gib": 300} for i in range(2)],
        "cluster__networks__0__connects": ["n0.accelerators", "m0", "m1"],
        "instances__0__weight_offloading__memory": "m0",
    }
    content = loading.of_mapping(copy.deepcopy(STREAMED), {k.replace("__", "."): v for k, v in apart.items()})
    other = {**STREAMED["instances"][0], "name": "b", "accelerators": ["n0[1]"]}
    other["weight_offloading"] = {"memory": "m1"}
    data = content.model_dump(mode="json", exclude_none=True)
    data["instances"].append(other)
    data["workload"].update(num_requests=2, request_rate=1e6)
    with Simulation(loading.of_mapping(data), tmp_path) as run:
        run.run()
    for engine in range(2):
        assert decode_s(run, engine) == pytest.approx(layer_bytes(run) / BANDWIDTH, rel=0.01)


SMALL = {"instances__0__model": "meta-llama/Llama-3.1-8B"}


def test_what_it_frees_is_the_kv_caches(tmp_path):
    whole = ran(tmp_path, **SMALL, instances__0__weight_offloading=None)
    off = ran(tmp_path, **SMALL, instances__0__weight_offloading__gib=4)
    block = 16 * 131072
    layer = off.units[0].arch.weight_bytes(1, layers=range(1), ends=0)
    gained = (off.units[0].blocks - whole.units[0].blocks) * block
    assert gained == pytest.approx(4 * 2**30 - layer, abs=2 * block)


def test_there_are_no_buffers_for_layers_that_stay_on_the_device(tmp_path):
    whole = ran(tmp_path, **SMALL, instances__0__weight_offloading=None).units[0].blocks
    one = {"memory": "box", "gib": 1}
    blocks = [
        ran(tmp_path, **SMALL, instances__0__weight_offloading={**one, "prefetch_step": step}).units[0].blocks
        for step in (2, 3, 32)
    ]
    assert blocks[0] > blocks[1] == blocks[2] == whole  # two layers and a half lie off the device


def test_read_in_place_only_what_lies_off_the_device_overlaps(tmp_path):
    """vLLM's cpu_offload_gb: the other layers are computed with nothing on the way."""
    plain = decode_s(ran(tmp_path, **SMALL, instances__0__weight_offloading=None))
    part = {"memory": "box", "gib": 3.25}
    run = ran(tmp_path, **SMALL, instances__0__weight_offloading={**part, "prefetch_step": 0})
    share = 3.25 * 2**30 / layer_bytes(run)
    expected = 3.25 * 2**30 / BANDWIDTH + plain * (1 - share)
    assert decode_s(run) == pytest.approx(expected, rel=0.01)
    ahead = decode_s(ran(tmp_path, **SMALL, instances__0__weight_offloading=part))
    assert 3.25 * 2**30 / BANDWIDTH <= ahead < decode_s(run)


def test_vllms_own_word(tmp_path):
    host = {"cluster__nodes__0__memory": {"dram": {"bandwidth_gb_s": 60}}}
    host |= {"cluster__networks__0__connects": ["n0.accelerators", "n0.dram"], "cluster__memories": []}
    ours = {"memory": "dram", "gib": 4, "prefetch_step": 0}
    said = ran(tmp_path, **SMALL, **host, instances__0__weight_offloading=ours)
    flag = {"instances__0__weight_offloading": None, "instances__0__engine__version": "vllm-0.19"}
    theirs = ran(tmp_path, **SMALL, **host, **flag, instances__0__engine__cpu_offload_gb=4)
    assert theirs.units[0].blocks == said.units[0].blocks
    assert decode_s(theirs) == pytest.approx(decode_s(said), rel=0.05)  # the host's work aside


def test_compute_hides_what_is_fast_enough(tmp_path):
    fast = {"cluster__memories__0__bandwidth_gb_s": 90000, "cluster__networks__0__bandwidth_gb_s": 90000}
    plain = decode_s(ran(tmp_path, **SMALL, instances__0__weight_offloading=None))
    assert decode_s(ran(tmp_path, **SMALL, **fast)) == pytest.approx(plain, rel=0.05)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cluster__memories__0__size_gib": 100}, "would lie in box, which has 100 GiB"),
        ({"instances__0__weight_offloading__memory": "bxo"}, "did you mean 'box'"),
        ({"cluster__networks__0__connects": ["n0.accelerators"]}, "no link reaches it"),
        ({"instances__0__weight_offloading": None}, "does not fit"),
        (
            {"instances__0__weight_offloading__prefetch_step": 60},
            r"weight_offloading.prefetch_step = 60: does not fit: .*; \d+\.\d+ GiB of the weights are buffers",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_time_0(tmp_path, changes, told):
    with pytest.raises(InputError, match=told):
        ran(tmp_path, **changes)


def test_a_command_line_with_offloading_makes_a_scenario_that_runs(cli, tmp_path):
    words = "serve meta-llama/Llama-3.1-8B --kv-offloading-size 8 --kv-offloading-backend native --cpu-offload-gb 2"
    made = cli("import", "vllm", "-o", tmp_path / "s.yaml", "--device", "h100-sxm", "--", *words.split())
    assert made.exit_code == 0 and "host memory of 8 channels of ddr5-4800 a node, over pcie5-x16" in made.output
    scenario, folder = loading.load(str(tmp_path / "s.yaml"), {"workload.num_prompts": 2})
    with Simulation(scenario, folder) as run:
        run.run()
    assert next(iter(run.pools.values())).counts.allocated


def test_the_plan_lists_what_streams(tmp_path, cli):
    (tmp_path / "s.yaml").write_text(json.dumps(STREAMED))
    done = cli("validate", tmp_path / "s.yaml", "--plan", "--json")
    last = json.loads(done.output)["a"][-1]
    (operation,) = last["operations"]
    assert last["section"] == "weights off the devices" and operation["components"] == ["net"]
    assert operation["numbers"] == {"bytes": str(layer_bytes(ran(tmp_path)))}
    shown = cli("validate", tmp_path / "s.yaml", "--plan").output
    assert "weights off the devices\n    net " in shown

"""RTL that fetches its operands, in runs: beside two memories, under a surrogate, wherever its members are."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from ..conftest import need_tool

WIRES = [{"from": "n0.accelerators.mem", "to": "n0.hbm"}]
ARRAY = {"model": "verilator-mem", "as_int8": True, "most_tiles": 4}
DRAM = {"model": "banked-dram", "part": "hbm2-2000"}
RATE = 8  # GB/s: half of what the array takes at its clock
FLAT = {"model": "bandwidth-latency", "bandwidth_gb_s": RATE}
TINY = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "vocab_size": 256,
    "max_position_embeddings": 1024,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}


@pytest.fixture
def of(small, tmp_path, monkeypatch):
    """A scenario of few requests to a very small model, by what does its products and what keeps its operands."""
    need_tool("verilator-mem")
    monkeypatch.setenv("METRONOME_CACHE", str(tmp_path / "cache"))
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    one = {**small["instances"][0], "model": str(tmp_path / "config.json"), "accelerators": "n0[0]"}
    small |= {"instances": [one], "wires": WIRES}
    small["workload"] |= {"num_requests": 3, "input_tokens": {"mean": 40, "max": 60}, "output_tokens": {"mean": 4}}
    del small["workload"]["shared_prefix"]
    return lambda array=ARRAY, hbm=FLAT: {**small, "components": {"n0.accelerators": array, "n0.hbm": hbm}}


def run(cli, folder, scenario, name):
    """(bytes of the requests' times, figures of the array with its memory)."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scenario))
    done = cli("run", path, "-o", folder / name, "--quiet")
    assert done.exit_code == 0, done.output
    result = json.loads((folder / name / "result.json").read_text())
    return (folder / name / "requests.csv").read_bytes(), result["metronome"]["components"]["n0.accelerators"]


@pytest.mark.parametrize("hbm", [FLAT, DRAM], ids=["bandwidth-latency", "banked-dram"])
def test_the_same_bytes_twice_and_wherever_its_members_run(cli, tmp_path, of, hbm):
    places = {"here": ({}, {}), "again": ({}, {}), "apart": ({"run": "process"}, {"run": "process"})}
    if hbm is DRAM:
        places["together"] = ({"run": "process"}, {"run": "island"})
    found = {}
    for name, (array, memory) in places.items():
        rows, figures = run(cli, tmp_path, of({**ARRAY, **array}, {**hbm, **memory}), name)
        found[name] = rows, figures["statistics"]
    assert all(one == found["here"] for one in found.values())
    figures = found["here"][1]
    assert figures["tiles_simulated"] > 100 and 0 < figures["stalled_cycles"] < figures["cycles"]
    assert figures["island"]["messages"] == 2 * (figures["loaded_bytes"] + figures["stored_bytes"]) // 64


def test_a_surrogate_asks_it_once(cli, tmp_path, of):
    scenario = of({**ARRAY, "surrogate": {"tolerance": 0.05}})
    scenario["workload"] |= {"num_requests": 8, "output_tokens": {"mean": 12}}
    (first, cold), (second, warm) = (run(cli, tmp_path, scenario, name) for name in ("cold", "warm"))
    apart = {**scenario["components"]["n0.accelerators"], "run": "process"}
    scenario["components"] |= {"n0.accelerators": apart, "n0.hbm": {**FLAT, "run": "process"}}
    third, _ = run(cli, tmp_path, scenario, "apart")
    assert first == second == third
    assert cold["statistics"]["surrogate"]["wall_calls"] > 20 and warm["statistics"]["surrogate"]["wall_calls"] == 0
    assert cold["statistics"]["surrogate"]["checked_error"] <= 0.05


def test_the_debugger_shows_its_stalls(cli, tmp_path, of):
    """In words and in the trace, as the array counts them."""
    parsed = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    path, script, trace = tmp_path / "s.yaml", tmp_path / "script", tmp_path / "inside.pftrace"
    path.write_text(yaml.safe_dump(of({**ARRAY, "most_tiles": None})))
    script.write_text(f"inside down_proj 16 --trace {trace}\n")
    done = cli("debug", path, "--batch", "-x", script)
    assert done.exit_code == 0, done.output
    said = re.search(r"tiles_simulated 16, cycles (\d+), stalled_cycles (\d+),", done.output)
    cycles, stalled = map(int, said.groups())
    others = cycles - stalled - 16 * (128 + 15)  # 2 x 8 tiles of length 128
    ends = 2 + 4 + 21 + 1  # the first edges, four lines, the way of the last, the end
    assert ends <= others <= ends + 8 * 64 // RATE  # whose writes may wait behind those of the tile before
    message = parsed.Trace()
    message.ParseFromString(trace.read_bytes())
    spans = [packet.track_event for packet in message.packet if packet.track_event.name.startswith("down_proj")]
    (facts,) = ({one.name: one.int_value for one in span.debug_annotations} for span in spans)
    assert (facts["cycles"], facts["stalled_cycles"]) == (cycles, stalled)
    loads = [packet.track_event for packet in message.packet if packet.track_event.name.startswith("load ")]
    assert len(loads) * 64 == facts["loaded_bytes"]


def test_it_wants_to_be_told_that_a_model_is_taken_as_int8(cli, tmp_path, of):
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(of({"model": "verilator-mem"})))
    done = cli("run", path, "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == 2 and "as_int8: true" in done.output, done.output

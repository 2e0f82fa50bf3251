"""An accelerator with its memory in a scenario: the same bytes wherever they run, asked once, under a surrogate."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from metronome.adapters.conformance import CHECKS
from metronome.adapters.conformance.sessions import local
from metronome.adapters.island import Island
from metronome.hwmodels.interface import ConfigError

WIRES = [{"from": "n0.accelerators.mem", "to": "n0.hbm"}]
ARRAY = {"model": "systolic-mem", "most_tiles": 4}
DRAM = {"model": "banked-dram", "part": "hbm2-2000"}
FAST = {"model": "bandwidth-latency", "bandwidth_gb_s": 900, "latency_ns": 100}
TINY = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}


@pytest.fixture
def wired(small, tmp_path):
    """A scenario of few requests to a small model, whose accelerators ask their memory."""
    (tmp_path / "config.json").write_text(json.dumps(TINY))
    small["instances"] = [{**small["instances"][0], "model": str(tmp_path / "config.json")}]
    small["workload"] |= {"num_requests": 2, "input_tokens": {"mean": 40, "max": 90}}
    small["workload"]["output_tokens"] = {"mean": 4}
    small["wires"] = WIRES

    def of(array=ARRAY, hbm=FAST, **more):
        return {**small, "components": {"n0.accelerators": array, "n0.hbm": hbm}, **more}

    return of


def run(cli, tmp_path, scenario, name, *more):
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scenario))
    done = cli("run", path, "-o", tmp_path / name, "--quiet", *more)
    assert done.exit_code == 0, done.output
    return tmp_path / name


def test_the_same_bytes_in_process_in_processes_and_hosted_together(cli, tmp_path, wired):
    places = {
        "here": ({}, {}),
        "apart": ({"run": "process"}, {"run": "process"}),
        "memory-apart": ({}, {"run": "process"}),
        "together": ({"run": "process"}, {"run": "island"}),
        "together-here": ({}, {"run": "island"}),
    }
    found = {}
    for name, (array, hbm) in places.items():
        out = run(cli, tmp_path, wired({**ARRAY, **array}, {**DRAM, **hbm}), name)
        island = json.loads((out / "result.json").read_text())["metronome"]["components"]["n0.accelerators"]
        figures = island["statistics"]["island"]
        found[name] = ((out / "requests.csv").read_bytes(), figures["messages"], figures["windows"], figures["played"])
    assert len(set(found.values())) == 1, {name: one[1:] for name, one in found.items()}
    assert (
        found["here"][1] > 1000 and 0 < found["here"][3] < 200
    )  # an operation is played once, however often it is met


def test_a_surrogate_stands_before_an_island(cli, tmp_path, wired, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    scenario = wired({**ARRAY, "surrogate": {"tolerance": 0.05}}, FAST)
    scenario["workload"] |= {"num_requests": 8}
    figures = []
    for name in ("cold", "warm"):
        out = run(cli, tmp_path, scenario, name)
        found = json.loads((out / "result.json").read_text())["metronome"]["components"]["n0.accelerators"]
        figures.append((found["statistics"], (out / "requests.csv").read_bytes()))
    (cold, first), (warm, second) = figures
    assert first == second
    assert cold["surrogate"]["wall_calls"] > 20 and warm["surrogate"]["wall_calls"] == 0  # played once, then on disk
    assert cold["surrogate"]["checked_error"] <= 0.05


def test_another_memory_is_another_answer_to_a_surrogate(cli, tmp_path, wired, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = []
    for name, rate in (("fast", 900), ("slow", 3)):
        hbm = {**FAST, "bandwidth_gb_s": rate}
        out = run(cli, tmp_path, wired({**ARRAY, "surrogate": {"tolerance": 0.05}}, hbm), name)
        rows.append(json.loads((out / "result.json").read_text())["mean_tpot_ms"])
    assert rows[1] > 1.5 * rows[0]


BACK = {"from": "n0.hbm.mem", "to": "n0.accelerators"}
ASKS_ITSELF = {"wires": [{"from": "n0.hbm.mem", "to": "n0.hbm"}]}
ASKER = {"model": "metronome.adapters.conformance.faulty_asker:Asker", "latency_ps": 0}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"wires": [*WIRES, BACK]}, "'n0.accelerators -> n0.hbm -> n0.accelerators': is a cycle"),
        (ASKS_ITSELF | {"components": {"n0.hbm": ASKER}}, "'n0.hbm -> n0.hbm': is a cycle"),
        (ASKS_ITSELF | {"components": {"n0.hbm": {**ASKER, "run": "island"}}}, "'n0.hbm -> n0.hbm': is a cycle"),
        ({"wires": [{"from": "n0.accelerators.mem", "to": "n0.hbn"}]}, "did you mean 'n0.hbm'?"),
        ({"wires": [{"from": "n0.accelerator.mem", "to": "n0.hbm"}]}, "did you mean 'n0.accelerators'?"),
        ({"wires": [{"from": "n0.accelerators.net", "to": "n0.hbm"}]}, "has no port 'net'; known: mem"),
        ({"wires": [{"from": "n0.accelerators.mem", "to": "n0.dram"}]}, "all devices share it"),
        ({"wires": [*WIRES, *WIRES]}, "is wired twice"),
        ({"wires": [{"from": "n0.accelerators.mem"}]}, "wires.0.to"),
        ({"wires": []}, "n0.accelerators.mem': is wired to nothing"),
        ({"components": {"n0.accelerators": {"model": "roofline"}}}, "has no port 'mem'; it asks nobody"),
        (
            {"components": {"n0.accelerators": ARRAY, "n0.hbm": {"run": "island"}}, "wires": []},
            "nothing is wired to it",
        ),
    ],
)
def test_what_cannot_be_is_one_message(cli, tmp_path, wired, change, text):
    scenario = wired() | change
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(scenario))
    done = cli("run", path)
    assert done.exit_code == 2 and text in done.output, done.output


def test_a_port_wired_to_nothing_is_refused(cli, tmp_path, wired):
    scenario = wired(hbm={}) | {"wires": []}
    del scenario["components"]["n0.hbm"]
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(scenario))
    done = cli("run", path)
    assert done.exit_code == 2 and "n0.accelerators.mem" in done.output and "wired to nothing" in done.output


def test_a_fault_at_a_port_ends_the_run_with_its_name(cli, tmp_path, wired):
    faulty = {"model": "metronome.adapters.conformance.faulty:Faulty", "fault": "repeats"}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(wired(hbm=faulty)))
    done = cli("run", path, "-o", tmp_path / "out")
    assert done.exit_code == 3
    assert "component n0.hbm: answered load" in done.output and "of n0.accelerators, port mem twice" in done.output


@pytest.mark.parametrize("fault", ["invents", "drops", "over-reaches"])
def test_a_fault_of_a_process_names_the_port_too(cli, tmp_path, wired, fault):
    faulty = {"model": "metronome.adapters.conformance.faulty:Faulty", "fault": fault, "run": "process"}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(wired(hbm=faulty)))
    done = cli("run", path, "-o", tmp_path / "out")
    assert done.exit_code == 3 and "component n0.hbm: " in done.output
    assert "asked at port n0.accelerators.mem)" in done.output, done.output


def test_the_debugger_looks_inside(cli, tmp_path, wired):
    path, trace = tmp_path / "s.yaml", tmp_path / "inside.pftrace"
    path.write_text(yaml.safe_dump(wired()))
    script = tmp_path / "script"
    script.write_text(f"inside gate_up_proj 3 --trace {trace}\ninside gate_up 3\ninside down_proj\n")
    done = cli("debug", path, "--batch", "-x", script)
    said = done.output
    assert "gemm 'gate_up_proj' [3] on n0.accelerators" in said
    assert re.search(r"n0\.accelerators\.mem -> n0\.hbm: \d+ load, \d+ bytes, [\d.]+ GB/s; answered after", said)
    assert re.search(r"n0\.accelerators\.mem -> n0\.hbm: \d+ store, ", said)
    assert "did you mean 'gate_up_proj'?" in said and "gemm takes m" in said
    assert trace.stat().st_size > 500


def test_there_is_nothing_inside_what_is_not_wired(cli, tmp_path, small):
    path, script = tmp_path / "s.yaml", tmp_path / "script"
    path.write_text(yaml.safe_dump(small))
    script.write_text("inside gate_up_proj 3\n")
    assert "nothing passes here" in cli("debug", path, "--batch", "-x", script).output


class Few(Island):
    """The same, of fewer operations at once: each is played."""

    description = replace(Island.description, max_batch_ops=60)


ISLAND = {"members": {"n0.hbm": FAST, "n0.accelerators": ARRAY}, "wires": WIRES}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_island_keeps_the_contract(check):
    check(local(Few, ISLAND))


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"wires": []}, "wires", "is wired to nothing"),
        ({"wires": [{"from": "n0.accelerators.mem"}]}, "wires", "a wire has a from"),
        ({"members": {"a": {}}}, "members", "which model?"),
        ({"members": {"a": {"model": "nobody"}}}, "members.a.model", "no model of that name"),
        ({"members": {**ISLAND["members"], "a": {**FAST, "bandwidth_gb_s": 0}}}, "members.a.bandwidth_gb_s", "greater"),
        ({"members": {**ISLAND["members"], "a": FAST}}, "wires", "all but one are asked over wires"),
        ({"members": {"a": FAST}, "wires": []}, "members.a.model", "it has to be an accelerator"),
    ],
)
def test_what_is_no_island_is_refused(change, field, text):
    with pytest.raises(ConfigError) as found:
        Island(ISLAND | change)
    assert found.value.field == field and text in f"{found.value.value} {found.value.allowed}"


def test_an_island_is_served(cli, tmp_path, wired):
    """`metronome serve-island` at an address gives what the same wires give in this process."""
    (tmp_path / "island.yaml").write_text(yaml.safe_dump(ISLAND))
    folder = tmp_path / "s"
    folder.mkdir(mode=0o700)
    socket = f"unix:{folder}/island.sock"
    command = [sys.executable, "-m", "metronome", "serve-island", tmp_path / "island.yaml", "--listen", socket]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert "serves on" in server.stdout.readline()
            there = wired() | {
                "wires": [],
                "components": {"n0.accelerators": {"run": "address", "address": {"target": socket}}},
            }
            rows = [
                (run(cli, tmp_path, s, n) / "requests.csv").read_bytes() for n, s in (("at", there), ("in", wired()))
            ]
            assert rows[0] == rows[1]
        finally:
            server.terminate()


def test_a_member_that_dies_is_brought_back_to_the_same_bytes(cli, tmp_path, wired):
    """Each member dies in turn, in the middle of what it plays."""
    quiet = run(cli, tmp_path, wired(), "quiet")
    for name in ("n0.accelerators", "n0.hbm"):
        parts = {"n0.accelerators": ARRAY, "n0.hbm": FAST}
        model = parts[name]["model"]
        parts[name] = {**parts[name], "model": f"chaos/{model}", "run": "process", "chaos": {"crash": [40]}}
        out = run(cli, tmp_path, wired(parts["n0.accelerators"], parts["n0.hbm"]), f"{name}-dies")
        assert (out / "requests.csv").read_bytes() == (quiet / "requests.csv").read_bytes()
        found = json.loads((out / "result.json").read_text())["metronome"]["components"]["n0.accelerators"]
        assert found["recoveries"] == 1

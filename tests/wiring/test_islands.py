"""An accelerator with its memory in a scenario: the same bytes wherever they run, asked once, under a surrogate."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys

import pytest
import yaml
from metronome.adapters.island import Island
from metronome.hwmodels.interface import ConfigError

WIRES = [{"from": "n0.accelerators.mem", "to": "n0.hbm"}]
ARRAY = {"model": "systolic-mem", "rows": 256, "columns": 256, "most_tiles": 4, "request_bytes": 16384}
DRAM = {"model": "banked-dram", "part": "hbm2-2000"}
FAST = {"model": "bandwidth-latency", "bandwidth_gb_s": 900, "latency_ns": 100}


@pytest.fixture
def wired(small):
    """A scenario of few requests whose accelerators ask their memory."""
    small["workload"]["num_requests"] = 2
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
    assert found["here"][1] > 1000 and 0 < found["here"][3] < 200  # an operation is played once, however often it is met

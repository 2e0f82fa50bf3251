"""Co-simulation units in runs: a host's memory, and the way to a pool of K and V that gets hot."""

from __future__ import annotations

import copy
import csv
import json
import re
import shlex
import shutil

import pytest
import yaml

from ..conftest import ROOT
from ..memory.small import TIERED
from .test_fmi import STATE, build, units  # noqa: F401  # a fixture

PAGE = (ROOT / "docs/adapters.md").read_text().split("## Your co-simulation unit")[1].split("\n## ")[0]
#: At rest 65 degrees, 20 above that for a watt of traffic; it follows within tenths of a second.
MODULE = {"tau_s": 0.3, "k_per_w": 40.0, "idle_w": 0.5, "throttled_gb_s": 5.0, "restored_c": 70.0}
POOL = {"name": "cxl", "connects": ["n0.accelerators", "pool"], "bandwidth_gb_s": 50, "latency_ns": 500}


def run(cli, folder, scenario, name):
    """(rows of the requests, figures of the components)."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scenario))
    done = cli("run", path, "-o", folder / name, "--quiet")
    assert done.exit_code == 0, done.output
    result = json.loads((folder / name / "result.json").read_text())
    return (folder / name / "requests.csv").read_text(), result["metronome"]["components"]


def tiered(**component):
    """K and V of two engines in a pool behind a unit."""
    scenario = copy.deepcopy(TIERED)
    cluster = scenario["cluster"]
    cluster["networks"][0]["connects"].remove("pool")
    cluster["networks"].append(POOL)
    scenario["kv_offloading"]["tiers"] = [{"name": "pool", "memory": "pool", "shared_by": "cluster", "size_gib": 16}]
    scenario["components"] = {"cxl": {"model": "fmi-network", "step_ns": 100_000, **component}}
    return scenario


def rows(text):
    return sorted(csv.DictReader(text.splitlines()), key=lambda row: int(row["id"]))


@pytest.mark.parametrize("unit", ["hot", "fixed"])
def test_a_host_s_memory_is_the_same_bytes_twice_and_in_a_process(cli, tmp_path, small, units, unit):  # noqa: F811
    """Two instances meet there."""
    small["workload"] |= {"num_requests": 10, "output_tokens": {"mean": 10}}
    found = {}
    for name, options in {"here": {}, "again": {}, "apart": {"run": "process"}}.items():
        small["components"] = {"n0.dram": {"model": "fmi", "fmu": str(units[unit]), "step_ns": 10_000, **options}}
        text, figures = run(cli, tmp_path, small, name)
        found[name] = text, figures["n0.dram"]["statistics"]
    assert found["here"] == found["again"] == found["apart"]
    assert found["here"][1]["read_bytes"] > 10**4 and found["here"][1]["steps"] > 100


def test_k_and_v_from_a_memory_that_gets_hot_come_later(cli, tmp_path, units):  # noqa: F811
    """The load heats it; from then on, and only then, requests that recall wait longer: what it does in return."""
    unit = {"fmu": str(units["hot"]), "outputs": ["temperature_c", "throttled"]}
    cool, figures = run(cli, tmp_path, tiered(**unit, parameters={**MODULE, "limit_c": 1000.0}), "cool")
    seen = figures["cxl"]["statistics"]["outputs"]
    assert seen["throttled"]["highest"] is False and seen["temperature_c"]["lowest"] == pytest.approx(65)
    assert seen["temperature_c"]["highest"] > 80
    hot, figures = run(cli, tmp_path, tiered(**unit, parameters={**MODULE, "limit_c": 75.0}), "hot")
    seen = figures["cxl"]["statistics"]["outputs"]
    assert seen["throttled"]["highest"] is True and seen["temperature_c"]["highest"] > 75
    first = [[int(row["first_token"]) for row in rows(text)] for text in (cool, hot)]
    differ = [number for number, (a, b) in enumerate(zip(*first, strict=True)) if a != b]
    assert differ and differ[0] > 5  # the first ones came before it was hot
    ttft = [[float(row["ttft"]) for row in rows(text)] for text in (cool, hot)]
    assert sum(ttft[1]) > 1.05 * sum(ttft[0])
    # with the limit as far away as cool's, the slower rate has no effect
    again, _ = run(
        cli, tmp_path, tiered(**unit, parameters={**MODULE, "limit_c": 95.0, "throttled_gb_s": 1.0}), "again"
    )
    assert again == cool
    apart, figures = run(cli, tmp_path, tiered(**unit, parameters={**MODULE, "limit_c": 75.0}, run="process"), "apart")
    assert apart == hot and figures["cxl"]["statistics"]["outputs"] == seen


def test_a_unit_that_is_quick_is_a_link_of_its_bandwidth(cli, tmp_path, units):  # noqa: F811
    """Against `fabric` of the same rate, which has a latency and a way for each direction besides: the sum of TTFTs."""
    unit = {"fmu": str(units["steady"]), "step_ns": 1000, "parameters": {"gb_s": 50.0}}
    theirs, figures = run(cli, tmp_path, tiered(**unit), "theirs")
    moved = figures["cxl"]["statistics"]
    reference = tiered()
    reference["components"] = {}
    ours, figures = run(cli, tmp_path, reference, "ours")
    assert sum(float(r["ttft"]) for r in rows(theirs)) == pytest.approx(
        sum(float(r["ttft"]) for r in rows(ours)), rel=0.1
    )
    assert moved["read_bytes"] and moved["written_bytes"]


WHERE = {"inprocess": {}, "process": {"run": "process", "on_failure": "fail"}}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("crashes", "killed by SIGABRT"),
        ("hangs", "did not answer within 2 s|gave no answer for 2 s"),
        ("raises", "says (error|fatal) at a step.*out of sand"),
        ("discards", "discards a step"),
    ],
)
def test_a_unit_that_fails_ends_the_run_with_its_name(cli, tmp_path, small, units, fault, why, where):  # noqa: F811
    unit = {
        "model": "fmi",
        "fmu": str(units["steady"]),
        "step_ns": 1000,
        "parameters": {"fault": fault},
        "timeout_s": 2,
    }
    small["components"] = {"n0.dram": {**unit, **WHERE[where]}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == 3 and "n0.dram" in done.output and re.search(why, done.output), done.output


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"fmu": "nothing.fmu"}, "fmu = .*nothing.fmu'.*no such file"),
        ({"wanted_bytes": "done_bytes"}, "wanted_bytes = 'done_bytes': is output"),
        ({"parameters": {"gbs": 1}}, "parameters.gbs.*did you mean 'gb_s'"),
    ],
)
def test_what_cannot_be_is_refused_before_time_0(cli, tmp_path, small, units, options, why, where):  # noqa: F811
    small["components"] = {
        "n0.dram": {"model": "fmi", "fmu": str(units["steady"]), "step_ns": 1, **options, **WHERE[where]}
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == 2 and re.search(why, done.output), done.output


def test_behind_a_device_or_a_port_it_is_refused_for_it_remembers(cli, tmp_path, small, units):  # noqa: F811
    small["components"] = {"n0.hbm": {"model": "fmi", "fmu": str(units["hot"]), "step_ns": 1000}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "o", "--quiet")
    assert done.exit_code == 2 and "fmi remembers" in done.output, done.output


@pytest.mark.parametrize(("unit", "step_ns"), [("hot", 2_000), ("forgetful", 10_000)])
def test_one_that_is_lost_comes_back(cli, tmp_path, small, units, unit, step_ns, monkeypatch):  # noqa: F811
    """By its state, or by all that it was told: the run ends as if its process had not been killed."""
    monkeypatch.setattr("metronome.orchestrator.coupling.recovery.log.SNAPSHOT_EVERY", 50)
    small["workload"] |= {"num_requests": 10, "output_tokens": {"mean": 10}}
    dram = {"fmu": str(units[unit]), "step_ns": step_ns, "run": "process"}
    whole, _ = run(cli, tmp_path, {**small, "components": {"n0.dram": {"model": "fmi", **dram}}}, "whole")
    chaos = {"model": "chaos/fmi", "chaos": {"crash": [140, 20]}, **dram}
    found, figures = run(cli, tmp_path, {**small, "components": {"n0.dram": chaos}}, "lost")
    assert found == whole and figures["n0.dram"].get("recoveries") == 2, figures["n0.dram"]


def test_the_page_s_unit_is_built_and_its_configuration_runs(cli, tmp_path, small, monkeypatch, units):  # noqa: F811
    """By the page's lines, in the folder of the source."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "adapters/examples/fmi/hot_memory.py", tmp_path)
    (commands, *_), (component, *_) = (re.findall(rf"^```{of}\n(.*?)^```$", PAGE, re.S | re.M) for of in ("", "yaml"))
    (line,) = (line for line in commands.splitlines() if "pythonfmu" in line)
    _, *arguments = shlex.split(line, comments=True)
    assert arguments[:3] == ["build", "-f", "hot_memory.py"] and set(STATE) == set(arguments[3:])
    build(tmp_path / "hot_memory.py", tmp_path, *arguments[3:])
    found = yaml.safe_load(component)["components"]
    small["components"] = {"n0.dram": found["n0.dram"]}
    run(cli, tmp_path, small, "host")
    _, figures = run(cli, tmp_path, tiered(**found["cxl"]), "pool")
    assert figures["cxl"]["statistics"]["outputs"]["temperature_c"]["highest"] > 55

"""Several models behind one router: a class of traffic gets the one it asks for."""

from __future__ import annotations

import copy
import csv

import metronome
import pytest
from metronome.orchestrator.errors import InputError

LLAMA, PHI = "meta-llama/Llama-3.1-8B", "microsoft/Phi-mini-MoE-instruct"


def load(name, model, count=6):
    work = {
        "format": "synthetic",
        "num_requests": count,
        "request_rate": 5,
        "input_tokens": {"mean": 100},
        "output_tokens": {"mean": 20},
    }
    return {"name": name, "workload": work, **({"model": model} if model else {})}


SCENARIO = {
    "name": "models",
    "workload": {"format": "mixture", "classes": [load("chat", LLAMA), load("drafts", PHI)]},
    "cluster": {"nodes": [{"name": "n0", "accelerators": {"type": "h100-sxm", "count": 3}}]},
    "instances": [
        {"name": "a", "model": LLAMA, "accelerators": "n0[0]"},
        {"name": "b", "model": PHI, "accelerators": "n0[1]"},
        {"name": "c", "model": LLAMA, "accelerators": "n0[2]"},
    ],
}


@pytest.mark.parametrize("policy", ["least-loaded", "round-robin", "random", "prefix-aware", "predicted-latency"])
@pytest.mark.parametrize("period", [None, 0.5])
def test_each_class_is_served_by_its_model(tmp_path, policy, period):
    scenario = copy.deepcopy(SCENARIO) | {"router": {"policy": policy, "report_period_s": period}}
    result = metronome.run(scenario, out=tmp_path)
    assert {name: one["completed"] for name, one in result["metronome"]["classes"].items()} == {"chat": 6, "drafts": 6}
    with (tmp_path / "requests.csv").open() as file:
        instances = [row["instance"] for row in csv.DictReader(file)]
    assert instances.count("b") == 6 and set(instances) <= {"a", "b", "c"}


def test_a_model_that_nobody_serves_is_refused_with_the_nearest():
    scenario = copy.deepcopy(SCENARIO)
    scenario["workload"]["classes"][0]["model"] = "meta-llama/Llama-3.1-8b"
    with pytest.raises(InputError, match="no instance serves.*did you mean 'meta-llama/Llama-3.1-8B'"):
        metronome.load(scenario)


def test_requests_that_name_none_are_warned_of(cli, tmp_path):
    import yaml

    scenario = copy.deepcopy(SCENARIO)
    del scenario["workload"]["classes"][0]["model"]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scenario))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "r")
    assert "requests that name no model go to any of them" in done.output


def test_a_failed_model_has_its_requests_wait_and_the_other_goes_on(tmp_path):
    scenario = copy.deepcopy(SCENARIO)
    scenario["start_up"] = {"base_s": 1}
    scenario["failures"] = [{"instance": "b", "at_s": [0.2], "repair_s": 3}]
    result = metronome.run(scenario, out=tmp_path)
    assert {name: one["completed"] for name, one in result["metronome"]["classes"].items()} == {"chat": 6, "drafts": 6}
    with (tmp_path / "requests.csv").open() as file:
        assert [row["instance"] for row in csv.DictReader(file)].count("b") == 6

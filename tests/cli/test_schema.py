"""The JSON Schema for editors: it is the published file, takes what the reader takes, and completes names."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
import yaml
from jsonschema import Draft202012Validator
from metronome.hwmodels.catalog import device_names, interconnect_names, model_names
from metronome.orchestrator.coupling import registry

from ..conftest import ROOT
from ..small import SMALL

FILE = ROOT / "scenarios/scenario.schema.json"
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
SCHEMA = json.loads(FILE.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def errors(content):
    return [error.json_path for error in VALIDATOR.iter_errors(content)]


def changed(**parts):
    return {**deepcopy(SMALL), **parts}


def flags(**given):
    content = deepcopy(SMALL)
    content["instances"][0]["engine"] = given
    return content


def test_the_published_schema_is_that_of_the_code(cli):
    assert FILE.read_text(encoding="utf-8") == cli("validate", "--schema").output, "run `make schema`"


def test_it_is_a_schema_with_an_identity():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == "urn:metronome-cosim:scenario" and SCHEMA["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_bundled_scenario_names_the_schema_and_keeps_it(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == FILE
    assert errors(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "content",
    [
        changed(),
        changed(devices="mine.yaml", calibration="factors.yaml"),
        changed(workload={"path": "trace.csv"}),
        flags(version="sglang-0.5.5", schedule_policy="lpm"),
        flags(scheduling_policy="mine:Class"),
        flags(version="vllm@0.19.0", scheduling_policy="shortest-job-first"),
        flags(version="vllm@0.19.0", scheduler="real", scheduling_policy="priority"),
        changed(router={"policy": "mine:Class"}),
        changed(components={"n0.accelerators": {"model": "mine:Class", "anything": 1}}),
    ],
)
def test_what_the_reader_takes_is_taken(content):
    assert errors(content) == []


@pytest.mark.parametrize(
    ("content", "spot"),
    [
        (changed(clutser={}), "$"),
        (changed(seed="one"), "$.seed"),
        (flags(max_num_seq=4), "$.instances[0].engine"),
        (flags(version="vllm-9"), "$.instances[0].engine"),
        (flags(version="vllm-0.19", schedule_policy="lpm"), "$.instances[0].engine"),  # SGLang's
        (flags(version="sglang-0.5.5", long_prefill_token_threshold=4), "$.instances[0].engine"),  # vLLM's
        (flags(version="vllm@0.19.0", scheduler="real", scheduling_policy="deadline"), "$.instances[0].engine"),
        (changed(router={"policy": 3}), "$.router.policy"),
    ],
)
def test_what_the_reader_refuses_is_marked(content, spot):
    assert errors(content) == [spot]


@pytest.mark.parametrize(
    ("part", "field", "names"),
    [
        ("Accelerators", "type", device_names()),
        ("Network", "type", interconnect_names()),
        ("Instance", "model", model_names()),
        ("ComponentOptions", "model", registry.names()),
        ("Fallback", "fallback", registry.names()),
        ("RouterOptions", "policy", ["least-loaded", "pd-aware"]),
        ("Autoscaling", "policy", ["queue", "kv", "slo"]),
        ("VllmOptions", "scheduling_policy", ["fcfs", "deadline"]),
    ],
)
def test_names_are_offered(part, field, names):
    offered = [one["enum"] for one in SCHEMA["$defs"][part]["properties"][field]["anyOf"] if "enum" in one]
    assert len(offered) == 1 and set(names) <= set(offered[0])


def test_every_field_says_what_it_is():
    """But `format`, which says what the others are."""
    parts = {**SCHEMA["$defs"], "Scenario": SCHEMA}
    silent = [
        f"{part}.{name}"
        for part, schema in parts.items()
        for name, field in schema.get("properties", {}).items()
        if isinstance(field, dict) and "description" not in field and name != "format"
    ]
    assert not silent

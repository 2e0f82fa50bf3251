"""What people send: long, empty, unsorted requests, trace formats, closed loops (cases 15 to 19, 23, 24, 37, 39, 40)."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from metronome.orchestrator.report.result import Result


def served(cli, cases, name, out, *flags):
    done = cli("run", cases / name / "scenario.yaml", "-o", out, "--quiet", *flags)
    assert done.exit_code == 0, done.output
    return Result.read(out)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("15-model-len-above-kv-capacity", "max_model_len = 131072: the KV cache has room for"),
        ("37-ttft-with-zero-max-model-len-flag", "max_model_len = 200000: the model's own limit is 131072"),
        ("16-request-above-kv-capacity", "max_model_len = 131072: the KV cache has room for"),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_what_vllm_refuses_to_start(cli, cases, tmp_path, monkeypatch, command, name, message):
    monkeypatch.chdir(tmp_path)
    done = cli(command, cases / name / "scenario.yaml")
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output


@pytest.mark.parametrize(
    ("name", "flags", "completed", "failed"),
    [
        ("16-request-above-kv-capacity", ("--set", "instances.0.engine.max_model_len=38000"), 2, {"max_model_len": 1}),
        ("17-one-request-above-max-model-len", (), 9, {"max_model_len": 1}),
        ("18-zero-output-row", (), 1, {"no_output": 1}),
        ("19-unsorted-arrivals", (), 2, {}),
        ("23-pd-decode-too-small-for-one", (), 0, {"kv_cache": 40}),
        ("24-pd-prompt-fits-output-does-not", (), 0, {"kv_cache": 1}),
        ("39_azure-trace-format-azure", (), 1, {}),
        ("40-request-rate-inf", (), 50, {}),
        ("40b-max-concurrency-key", (), 50, {}),
    ],
)
def test_odd_requests_fail_and_the_others_are_served(cli, cases, tmp_path, name, flags, completed, failed):
    result = served(cli, cases, name, tmp_path / "out", *flags)
    assert (result["completed"], result["failed"]) == (completed, sum(failed.values()))
    assert result["metronome"]["failed"] == failed
    reasons = Counter(result.failures["reason"]) if len(result.failures) else Counter()
    assert reasons == failed and len(result.requests) == completed


@pytest.mark.parametrize("name", ["17-one-request-above-max-model-len", "18-zero-output-row", "19-unsorted-arrivals"])
def test_strict_makes_them_errors(cli, cases, tmp_path, name):
    done = cli("run", cases / name / "scenario.yaml", "-o", tmp_path / "out", "--quiet", "--strict")
    assert done.exit_code == 2 and "request" in done.output


@pytest.mark.parametrize("name", ["23-pd-decode-too-small-for-one", "24-pd-prompt-fits-output-does-not"])
def test_a_decode_pool_too_small_for_any_request_is_found_before_time_0(cli, cases, name):
    done = cli("validate", cases / name / "scenario.yaml")
    assert done.exit_code == 2 and "cannot be served" in done.output and "instance d has" in done.output


@pytest.mark.parametrize("name", ["burstgpt", "mooncake", "sharegpt"])
def test_a_file_of_another_format_is_refused_by_name(cli, cases, tmp_path, name):
    """Those three cases hold an Azure file under another name; the same file is read once the name is left out."""
    scenario = cases / f"39_{name}-trace-format-{name}" / "scenario.yaml"
    done = cli("run", scenario, "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 2 and "the file looks like format azure" in done.output
    path = json.dumps({"path": str(scenario.parent / "trace.csv")})
    done = cli("run", scenario, "-o", tmp_path / "out", "--quiet", "--set", f"workload={path}")
    assert done.exit_code == 0, done.output
    result = Result.read(tmp_path / "out")
    assert result["completed"] == 1
    assert "is read as format azure, by its looks" in result["metronome"]["workload"][0]


def test_all_at_once_means_at_once(cli, cases, tmp_path):
    result = served(cli, cases, "40-request-rate-inf", tmp_path / "out", "--set", "workload.num_requests=1000")
    assert result["completed"] == 1000 and set(result.requests["arrival"]) == {0}


def test_a_closed_loop_holds_its_number(cli, cases, tmp_path):
    name, flags = "40b-max-concurrency-key", ("--set", "workload.request_rate=inf")
    rows = list(served(cli, cases, name, tmp_path / "out", *flags).requests)
    steps = sorted([(row["arrival"], 1) for row in rows] + [(row["end"], -1) for row in rows])
    out, most = 0, 0
    for _, step in steps:
        out += step
        most = max(most, out)
    assert most == 8

"""Every shape of log says the same of the same server; what is wrong in one is named."""

from __future__ import annotations

import csv
import json

import metronome
import numpy as np
import pytest
from metronome.orchestrator.calibrate import load, log
from metronome.orchestrator.calibrate.observations import Times
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.report.exports import aiperf
from metronome.orchestrator.scenario.loading import of_mapping
from metronome.orchestrator.simulation import read_workload
from metronome.orchestrator.workload.registry import Reading

from ..small import SMALL

SCENARIO = SMALL | {"workload": {**SMALL["workload"], "num_requests": 100}}


@pytest.fixture(scope="module")
def result():
    return metronome.run(SCENARIO)


@pytest.fixture(scope="module")
def times(result):
    return Times.of(result.requests)


def detailed(result):
    """As `vllm bench serve --save-detailed` has it; gaps between tokens all alike."""
    rows = list(result.requests)
    return {
        "ttfts": [row["ttft"] / 1e9 for row in rows],
        "itls": [[(row["end"] - row["first_token"]) / 1e9 / (row["output"] - 1)] * (row["output"] - 1) for row in rows],
        "input_lens": [row["input"] for row in rows],
        "output_lens": [row["output"] for row in rows],
        "start_times": [row["arrival"] / 1e9 for row in rows],
        "errors": [""] * len(rows),
    }


def written(folder, name, data):
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_aiperf_and_a_detailed_result_give_the_times_of_every_request(result, times, tmp_path):
    aiperf.write(result, tmp_path)
    logs = [log.read(tmp_path / "profile_export.jsonl"), log.read(written(tmp_path, "d.json", detailed(result)))]
    for one in logs:
        ttft, tpot = one.observations.metrics
        np.testing.assert_allclose(ttft.real, times.ttft, rtol=1e-6)
        np.testing.assert_allclose(tpot.real, times.tpot, rtol=1e-6)
        assert one.outputs.tolist() == result.requests["output"]
        assert one.inputs.tolist() == result.requests["input"]
        assert one.arrival_s[0] == 0


def test_requests_that_failed_are_left_out_and_counted(result, tmp_path):
    data = detailed(result)
    data["errors"][3], data["output_lens"][5] = "timed out", 0
    found = log.read(written(tmp_path, "d.json", data))
    assert (found.left_out, len(found.outputs)) == (2, 98)


def samples(times, every_ms):
    """(time, series) as vLLM's /metrics would have been at each of these times."""
    last = times.end.max() + every_ms
    for now in np.arange(0, last, every_ms):
        begun, ended = times.first <= now, times.end <= now
        yield (
            now / 1e3,
            {
                "vllm:time_to_first_token_seconds_sum": times.ttft[begun].sum() / 1e3,
                "vllm:time_to_first_token_seconds_count": begun.sum(),
                "vllm:request_time_per_output_token_seconds_sum": np.nansum(times.tpot[ended]) / 1e3,
                "vllm:request_time_per_output_token_seconds_count": ended.sum(),
            },
        )


def test_samples_of_metrics_are_means_of_the_requests_between_them(times, tmp_path):
    rows = list(samples(times, 50))
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["timestamp", *rows[0][1]])
        writer.writeheader()
        writer.writerows({"timestamp": t, **series} for t, series in rows)
    matrix = [
        {"metric": {"__name__": name, "engine": "0"}, "values": [[t, str(series[name])] for t, series in rows]}
        for name in rows[0][1]
    ]
    query = written(tmp_path, "q.json", {"status": "success", "data": {"resultType": "matrix", "result": matrix}})
    for path in (tmp_path / "m.csv", query):
        for metric in log.read(path).observations.metrics:
            np.testing.assert_allclose(metric.simulated(times), metric.real, rtol=1e-6)


def requests_of(scenario, folder):
    return sorted(read_workload(scenario, Reading(lambda name: folder / name, scenario.seed)), key=lambda r: r.id)


def test_a_log_of_other_requests_brings_its_own(result, tmp_path):
    read = log.read(written(tmp_path, "d.json", detailed(result)))
    same, other = of_mapping(SCENARIO), of_mapping(SCENARIO, {"workload.num_requests": 60})
    assert load.of(read, same, requests_of(same, tmp_path), tmp_path).scenario is same
    taken = load.of(read, other, requests_of(other, tmp_path), tmp_path)
    assert "the scenario has 60 requests, the log 100" in taken.words
    lengths = [(r.input_tokens, r.output_tokens) for r in requests_of(taken.scenario, tmp_path)]
    assert lengths == list(zip(result.requests["input"], result.requests["output"], strict=True))


BAD = {
    "not there": (None, "no such file"),
    "totals only": ({"mean_ttft_ms": 3.0}, "without single requests"),
    "a list": ([], "is none of"),
    "no lengths": ({"ttfts": [0.1]}, "itls: must be a list of 1"),
    "too few": ({"ttfts": [0.1], "itls": [[]], "input_lens": [1], "output_lens": [1]}, "requests = 1: at least 40"),
    "a vector": ({"data": {"resultType": "vector", "result": []}}, "data.resultType = 'vector': must be matrix"),
}


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_a_bad_log_is_one_message(content, said, tmp_path):
    path = tmp_path / "log.json" if content is None else written(tmp_path, "log.json", content)
    with pytest.raises(InputError, match=said.replace("(", r"\(")) as error:
        log.read(path)
    assert str(path) in str(error.value)


def test_a_csv_of_other_series_says_which_are_needed(tmp_path):
    with pytest.raises(InputError, match="vllm:time_to_first_token_seconds_sum and _count"):
        log.read(written(tmp_path, "m.csv", "timestamp,vllm:kv_cache_usage_perc\n1,0.5\n"))


def test_a_sample_that_is_no_number_is_named(tmp_path):
    path = written(tmp_path, "m.csv", "timestamp,vllm:time_to_first_token_seconds_sum\n1,NaN\n")
    with pytest.raises(InputError, match="m.csv:2: vllm:time_to_first_token_seconds_sum = 'NaN': must be a finite"):
        log.read(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start_times": ["noon"] * 100}, "start_times: must be seconds"),
        ({"itls": ["fast"] * 100}, "ttfts, itls: must be seconds"),
        ({"output_lens": ["many"] * 100}, "must be"),
    ],
)
def test_a_detailed_result_with_texts_for_numbers_is_one_message(change, said, result, tmp_path):
    with pytest.raises(InputError, match=said):
        log.read(written(tmp_path, "d.json", detailed(result) | change))


def test_a_scenario_that_is_calibrated_already_is_refused(result, cli, tmp_path):
    path = written(tmp_path, "d.json", detailed(result))
    done = cli("calibrate", path, "quickstart", "-o", tmp_path / "f.yaml", "--set", "calibration.factors.gemm=2")
    assert done.exit_code == 2 and "is there already" in done.output


def test_the_result_of_a_run_is_told_what_would_do(result, tmp_path):
    result.write(tmp_path)
    with pytest.raises(
        InputError, match="`metronome report --format aiperf` of its folder writes profile_export.jsonl"
    ):
        log.read(tmp_path / "result.json")

"""Runs in the shapes of other tools: against their own definitions, a parser that is not ours, and result.json."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from metronome.orchestrator.report.exports.aiperf import _make
from metronome.orchestrator.report.result import Table


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from metronome.orchestrator import api

    folder = tmp_path_factory.mktemp("exports") / "run"
    api.run("quickstart", folder, overrides={"workload.num_requests": 60})
    return folder


@pytest.fixture(scope="module")
def requests(folder):
    with (folder / "requests.csv").open() as file:
        return list(csv.DictReader(file))


def test_aiperf_statistics_are_those_of_the_requests(folder, requests, cli, tmp_path):
    done = cli("report", "--format", "aiperf", folder, "-o", tmp_path)
    assert done.exit_code == 0, done.output
    data = json.loads((tmp_path / "profile_export_aiperf.json").read_text())
    result = json.loads((folder / "result.json").read_text())
    for tag, name in (("time_to_first_token", "ttft"), ("request_latency", "e2el"), ("inter_token_latency", "tpot")):
        for theirs, ours in (("avg", "mean"), ("p50", "median"), ("p90", "p90"), ("p99", "p99"), ("std", "std")):
            assert data[tag][theirs] == pytest.approx(result[f"{ours}_{name}_ms"], rel=1e-5), (tag, theirs)
        assert data[tag]["unit"] == "ms" and data[tag]["count"] == 60
        assert data[tag]["min"] <= data[tag]["p1"] <= data[tag]["p25"] <= data[tag]["p75"] <= data[tag]["max"]
    span = (max(int(r["end"]) for r in requests) - min(int(r["arrival"]) for r in requests)) / 1e9
    assert data["benchmark_duration"] == {"unit": "sec", "avg": span}
    assert data["request_throughput"]["avg"] == 60 / span
    assert data["total_osl"]["avg"] == result["total_output_tokens"]
    good = result["request_goodput"] * result["duration"]
    assert data["good_request_count"]["avg"] == pytest.approx(good) and data["goodput"]["avg"] == pytest.approx(
        good / span
    )


def test_aiperf_energies_are_the_accelerators(folder, cli, tmp_path):
    assert cli("report", "--format", "aiperf", folder, "-o", tmp_path).exit_code == 0
    data = json.loads((tmp_path / "profile_export_aiperf.json").read_text())
    result = json.loads((folder / "result.json").read_text())
    total = data["nvidia_total_gpu_energy"]["avg"]
    assert 0 < total <= result["metronome"]["energy_j"] * (1 + 1e-12)
    assert data["nvidia_energy_per_request"]["avg"] * 60 == pytest.approx(total)
    assert data["nvidia_energy_per_output_token"]["avg"] * result["total_output_tokens"] == pytest.approx(total)
    assert data["nvidia_output_tokens_per_joule"]["avg"] * total == pytest.approx(result["total_output_tokens"])
    assert data["nvidia_average_gpu_power"]["avg"] * result["metronome"]["simulated_s"] == pytest.approx(total)


@pytest.mark.parametrize(
    ("device", "make"),
    [("h100-sxm", "nvidia"), ("rtx-a6000", "nvidia"), ("mi300x", "amd"), ("tpu-v6e", ""), ("gaudi3", ""), ("mine", "")],
)
def test_whose_energy_aiperf_reads(device, make):
    assert _make(device) == make


def test_aiperf_by_instance_adds_up(folder, requests, cli, tmp_path):
    assert cli("report", "--format", "aiperf", folder, "-o", tmp_path).exit_code == 0
    parts = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("profile_export_aiperf.*.json"))]
    whole = json.loads((tmp_path / "profile_export_aiperf.json").read_text())
    assert len(parts) == 2
    for tag in ("request_count", "total_isl", "total_osl"):
        assert sum(part[tag]["avg"] for part in parts) == whole[tag]["avg"]


def test_aiperf_records_are_the_requests(folder, requests, cli, tmp_path):
    assert cli("report", "--format", "aiperf", folder, "-o", tmp_path).exit_code == 0
    records = [json.loads(line) for line in (tmp_path / "profile_export.jsonl").read_text().splitlines()]
    assert len(records) == len(requests)
    for record, row in zip(records, requests, strict=True):
        assert record["metadata"]["request_start_ns"] == int(row["arrival"])
        assert record["metadata"]["worker_id"] == row["instance"] and record["error"] is None
        assert record["metrics"]["time_to_first_token"] == {"value": int(row["ttft"]) / 1e6, "unit": "ms"}
        assert record["metrics"]["output_sequence_length"]["value"] == int(row["output"])


def families(folder, cli, tmp_path):
    parser = pytest.importorskip("prometheus_client.parser", reason="needs the dev dependencies")
    target = tmp_path / "metrics.prom"
    done = cli("report", "--format", "prometheus", folder, "-o", target)
    assert done.exit_code == 0, done.output
    return {family.name: family for family in parser.text_string_to_metric_families(target.read_text())}


def test_prometheus_histograms_count_every_request(folder, requests, cli, tmp_path):
    found = families(folder, cli, tmp_path)
    for name, column in (("vllm:time_to_first_token_seconds", "ttft"), ("vllm:e2e_request_latency_seconds", "e2el")):
        assert found[name].type == "histogram"
        for engine in ("chat-0", "chat-1"):
            values = [int(row[column]) / 1e9 for row in requests if row["instance"] == engine]
            ours = [sample for sample in found[name].samples if sample.labels["engine"] == engine]
            buckets = [(float(s.labels["le"]), s.value) for s in ours if s.name.endswith("_bucket")]
            assert buckets == [(bound, sum(value <= bound for value in values)) for bound, _ in buckets]
            assert buckets[-1] == (float("inf"), len(values))
            total = next(s.value for s in ours if s.name.endswith("_sum"))
            assert total == pytest.approx(np.sum(values), rel=1e-7)  # stamps and spans are each rounded to ns


def test_prometheus_counters_are_those_of_result_json(folder, cli, tmp_path):
    found, result = families(folder, cli, tmp_path), json.loads((folder / "result.json").read_text())

    def total(name):
        return sum(sample.value for sample in found[name].samples)

    assert total("vllm:prompt_tokens") == result["total_input_tokens"]
    assert total("vllm:generation_tokens") == result["total_output_tokens"]
    assert total("vllm:request_success") == result["completed"]
    assert total("vllm:prefix_cache_hits") == result["metronome"]["prefix_hit_tokens"] > 0
    labels = found["vllm:prompt_tokens"].samples[0].labels
    assert labels == {"model_name": result["model_id"], "engine": "chat-0"}


def test_other_formats_take_one_folder(folder, cli):
    done = cli("report", "--format", "aiperf", folder, folder)
    assert done.exit_code == 2 and "must be one folder" in done.output


def test_parquet_has_the_tables(folder, cli, tmp_path):
    from pyarrow import parquet

    done = cli("report", "--format", "parquet", folder, "-o", tmp_path)
    assert done.exit_code == 0, done.output
    found, whole = parquet.read_table(tmp_path / "requests.parquet"), Table.read(folder / "requests.csv")
    assert tuple(found.column_names) == whole.columns
    assert [tuple(row.values()) for row in found.to_pylist()] == [tuple(row) for row in whole.rows]
    assert str(found.schema.field("ttft").type) == "int64" and str(found.schema.field("instance").type) == "string"
    series = parquet.read_table(tmp_path / "timeseries.parquet")
    assert series.num_rows == len(Table.read(folder / "timeseries.csv"))


def test_a_run_is_no_other_than_its_own_exports(folder, cli, tmp_path):
    assert cli("report", "--format", "aiperf", folder, "-o", tmp_path).exit_code == 0
    for name in ("profile_export_aiperf.json", "profile_export.jsonl"):
        found = json.loads(cli("compare", folder, tmp_path / name, "--json").stdout)
        assert not found["warnings"] and len(found["rows"]) > 12
        assert {row["metric"]: row["error"] for row in found["rows"] if abs(row["error"]) > 1e-7} == {}
    rates = {"request_throughput", "output_throughput", "total_token_throughput"}
    rows = json.loads(cli("compare", folder, tmp_path / "profile_export_aiperf.json", "--json").stdout)["rows"]
    assert rates <= {row["metric"] for row in rows}


def test_the_shape_of_vllm_is_there_already(folder, cli):
    done = cli("report", "--format", "vllm", folder)
    assert done.exit_code == 2 and "result.json has that shape already" in done.output

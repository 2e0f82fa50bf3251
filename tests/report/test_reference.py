"""What `metronome compare` reads: benchmark clients' files by each one's own definitions, and what it warns of."""

from __future__ import annotations

import json

import metronome
import pytest
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.report import reference
from metronome.orchestrator.report.benchmark_files import Sample
from metronome.orchestrator.report.exports import aiperf

VLLM = {
    "date": "20260101-000000",
    "model_id": "org/model",
    "request_rate": 4.0,
    "max_concurrency": None,
    "duration": 12.5,
    "completed": 40,
    "failed": 0,
    "total_input_tokens": 8000,
    "total_output_tokens": 2000,
    "request_throughput": 3.2,
    "output_throughput": 160.0,
    "total_token_throughput": 800.0,
    "mean_ttft_ms": 50.0,
    "p99_ttft_ms": 90.0,
    "mean_tpot_ms": 10.0,
    "mean_itl_ms": 9.5,
    "p99_itl_ms": 30.0,
}
AIPERF = {
    "schema_version": "1.0",
    "input_config": {"models": {"items": [{"name": "org/model"}]}},
    "time_to_first_token": {"unit": "ms", "avg": 50.0, "p50": 45.0, "p90": 80.0, "p95": 85.0, "p99": 90.0, "std": 3},
    "inter_token_latency": {"unit": "ms", "avg": 10.0, "p99": 12.0},
    "request_latency": {"unit": "sec", "avg": 0.54, "p50": 0.5},
    "input_sequence_length": {"unit": "tokens", "avg": 200.0},
    "output_sequence_length": {"unit": "tokens", "avg": 50.0},
    "request_count": {"unit": "requests", "avg": 40.0},
    "request_throughput": {"unit": "requests/sec", "avg": 3.2},
    "output_token_throughput": {"unit": "tokens/sec", "avg": 160.0},
    "benchmark_duration": {"unit": "sec", "avg": 12.5},
}
CSV = """Metric,avg,min,max,sum,p1,p5,p10,p25,p50,p75,p90,p95,p99,std
Input Sequence Length (tokens),200.00,,,,,,,,,,,,,
Inter Token Latency (ms),10.00,9,11,,,,,,10.00,,,,12.00,
Output Sequence Length (tokens),50.00,,,,,,,,,,,,,
Request Latency (ms),540.00,,,,,,,,500.00,,,,,
Time to First Token (ms),50.00,1,99,,,,,,45.00,,80.00,85.00,90.00,3.00

Metric,Value
Benchmark Duration (sec),12.50
Output Token Throughput (tokens/sec),160.00
Request Count,40.00
Request Throughput (requests/sec),3.20


Endpoint,GPU_Index,GPU_Name,GPU_UUID,Platform,Metric,avg
localhost,0,H100,GPU-0,cuda,Time to First Token (ms),7
"""


def distribution(mean, **percentiles):
    return {"successful": {"mean": mean, "median": mean, "percentiles": percentiles}, "errored": {"mean": 0}}


def guidellm(rate):
    return {
        "config": {"backend": {"type_": "openai_http", "model": "org/model"}},
        "metrics": {
            "request_totals": {"successful": 40, "errored": 1},
            "time_to_first_token_ms": distribution(50.0, p90=80.0, p99=90.0),
            "inter_token_latency_ms": distribution(10.0),
            "time_per_output_token_ms": distribution(11.0),
            "request_latency": distribution(0.54),
            "requests_per_second": distribution(rate),
            "output_tokens_per_second": distribution(160.0),
            "tokens_per_second": distribution(800.0),
            "prompt_token_count": distribution(200.0),
            "output_token_count": distribution(50.0),
        },
    }


def record(name, ttft=50.0, phase="profiling", error=None, **more):
    return {
        "metadata": {"session_num": name, "request_start_ns": name * 10**9, "benchmark_phase": phase, **more},
        "metrics": {
            "time_to_first_token": {"value": ttft, "unit": "ms"},
            "request_latency": {"value": 0.54, "unit": "sec"},
            "input_sequence_length": {"value": 200, "unit": "tokens"},
            "output_sequence_length": {"value": 50, "unit": "tokens"},
        },
        "error": error,
    }


def written(path, *values, text=None):
    path.write_text("\n".join(map(json.dumps, values)) if text is None else text)
    return path


@pytest.fixture(params=["vllm", "aiperf", "aiperf csv", "guidellm"])
def file(request, tmp_path):
    return {
        "vllm": lambda: written(tmp_path / "b.json", VLLM),
        "aiperf": lambda: written(tmp_path / "profile_export_aiperf.json", AIPERF),
        "aiperf csv": lambda: written(tmp_path / "profile_export_aiperf.csv", text=CSV),
        "guidellm": lambda: written(tmp_path / "benchmarks.json", {"benchmarks": [guidellm(3.2)]}),
    }[request.param]()


def test_the_same_measurement_reads_the_same_from_every_client(file):
    found = reference.read(file, "arrival")
    expected = {"mean_ttft_ms": 50.0, "p99_ttft_ms": 90.0, "mean_tpot_ms": 10.0, "request_throughput": 3.2}
    assert {key: found.figures[key] for key in expected} == expected
    assert found.figures["output_throughput"] == 160.0
    assert (found.sample.completed, found.sample.input_tokens, found.sample.output_tokens) == (40, 200.0, 50.0)
    assert found.sample.model in ("org/model", None if file.suffix == ".csv" else "org/model")
    if file.name != "b.json":
        assert found.figures["mean_e2el_ms"] == pytest.approx(540.0)
        assert "mean_itl_ms" not in found.figures  # what they call so is a request's mean
    if file.name != "benchmarks.json":
        assert found.figures["makespan_s"] == 12.5


def test_thousands_in_a_csv_have_commas(tmp_path):
    """As GenAI-Perf writes them."""
    text = CSV.replace("540.00,,", '"6,406.20",,').replace("200.00,", '"3,000.05",', 1)
    found = reference.read(written(tmp_path / "p.csv", text=text), "arrival")
    assert found.figures["mean_e2el_ms"] == 6406.2 and found.sample.input_tokens == 3000.05


@pytest.mark.parametrize(
    ("older", "report"),
    [
        (
            {
                "worker": {"backend_model": "org/model"},
                "run_stats": {"requests_made": {"successful": 40, "errored": 1}},
            },
            {},
        ),
        ({"worker": {"backend_model": "org/model"}, "request_totals": {"successful": 40, "errored": 1}}, {}),
        ({"metrics": guidellm(3.2)["metrics"]}, {"args": {"model": "org/model"}}),
    ],
)
def test_older_reports_of_guidellm_name_model_and_count(tmp_path, older, report):
    one = guidellm(3.2)
    del one["config"]
    if "metrics" not in older:
        del one["metrics"]["request_totals"]
    sample = reference.read(
        written(tmp_path / "b.json", {**report, "benchmarks": [{**one, **older}]}), "arrival"
    ).sample
    assert (sample.model, sample.completed) == ("org/model", 40)
    assert sample.remarks == ("requests of the reference that failed: 1; its times are without them",)


def test_a_report_of_guidellm_without_counts_is_said_so(tmp_path):
    one = guidellm(3.2)
    del one["metrics"]["request_totals"]
    sample = reference.read(written(tmp_path / "b.json", {"benchmarks": [one]}), "arrival").sample
    assert sample.completed is None
    assert sample.remarks == ("the reference does not say how many of its requests were served, or failed",)


@pytest.mark.parametrize(
    ("value", "said"),
    [("fast", " = 'fast'"), (None, ": is null"), (True, " = True"), (float("nan"), " = nan")],
)
def test_a_mean_that_is_no_number_is_said_as_it_is(tmp_path, value, said):
    path = written(tmp_path / "b.json", {**VLLM, "mean_ttft_ms": value})
    with pytest.raises(InputError, match=f"mean_ttft_ms{said}: must be a number of ms"):
        reference.read(path, "arrival")


def test_what_a_reference_did_beside_is_told(tmp_path):
    more = {"failed": 7, "spec_decode_acceptance_length": 2.5, "p99_ttft_ms": float("nan")}
    found = reference.read(written(tmp_path / "b.json", {**VLLM, **more}), "arrival")
    assert "that failed: 7" in found.sample.remarks[0] and "2.50 tokens a step" in found.sample.remarks[1]
    assert "p99_ttft_ms" not in found.figures
    listed = {**AIPERF, "error_request_count": {"unit": "requests", "avg": 3.0}}
    assert "that failed: 3" in reference.read(written(tmp_path / "a.json", listed), "arrival").sample.remarks[0]


def test_files_without_a_common_figure_are_refused(tmp_path):
    found = reference.read(written(tmp_path / "p.csv", text="Metric,avg\n"), "arrival")
    with pytest.raises(InputError, match="has none of those of a run"):
        reference.compare(reference.Reference({"mean_ttft_ms": 1.0}, None), found)


def test_gaps_between_tokens_and_throughput_are_compared(tmp_path):
    run = reference.Reference({**reference.read(written(tmp_path / "b.json", VLLM), "arrival").figures}, None)
    run.figures.update(mean_itl_ms=19.0, output_throughput=80.0)
    rows, _ = reference.compare(run, reference.read(tmp_path / "b.json", "arrival"))
    errors = {row.metric: row.error for row in rows}
    assert errors["mean_itl_ms"] == 1.0 and errors["output_throughput"] == -0.5
    assert errors["p99_itl_ms"] == errors["total_token_throughput"] == errors["makespan_s"] == 0


@pytest.mark.parametrize("name", ["appended.json", "appended.jsonl"])
def test_of_several_results_one_is_chosen(tmp_path, name):
    path = written(tmp_path / name, VLLM, {**VLLM, "request_rate": 8.0, "mean_ttft_ms": 70.0})
    with pytest.raises(InputError, match=r"holds 2 results: choose one \(1 is request_rate 4.0.*2 is request_rate 8.0"):
        reference.read(path, "arrival")
    assert reference.read(path, "arrival", 2).figures["mean_ttft_ms"] == 70.0
    with pytest.raises(InputError, match="must be from 1 to 2"):
        reference.read(path, "arrival", 3)


def test_a_sweep_of_guidellm_likewise(tmp_path):
    path = written(tmp_path / "benchmarks.json", {"benchmarks": [guidellm(1.0), guidellm(2.0)]})
    with pytest.raises(InputError, match="2 is 2.00 requests/s"):
        reference.read(path, "arrival")
    assert reference.read(path, "arrival", 2).figures["request_throughput"] == 2.0


def test_records_of_aiperf_without_warm_up_and_failures(tmp_path):
    cancelled = record(4, was_cancelled=True)
    lines = [record(0, phase="warmup"), record(1, 40.0), record(2, 60.0), record(3, error={"code": 500}), cancelled]
    found = reference.read(written(tmp_path / "profile_export.jsonl", *lines), "arrival")
    assert found.times is not None and found.times.ids == ("1", "2")
    assert found.figures["mean_ttft_ms"] == pytest.approx(50.0)
    assert found.figures["mean_e2el_ms"] == pytest.approx(540.0)
    assert found.figures["mean_tpot_ms"] == pytest.approx(490 / 49)
    assert found.figures["makespan_s"] == pytest.approx(1.54)
    assert found.sample == Sample(
        None, 2, 200.0, 50.0, ("requests of the reference that failed: 2; its times are without them",)
    )


def test_a_run_equals_what_it_exports(small, tmp_path):
    """By every file of AIPerf's that we write: none of its figures is another's."""
    result = metronome.run(small, out=tmp_path / "run")
    aiperf.write(result, tmp_path / "export")
    for name in ("profile_export_aiperf.json", "profile_export.jsonl"):
        one, other = (reference.read(tmp_path / part, "arrival") for part in ("run", f"export/{name}"))
        rows, _ = reference.compare(one, other)
        times = [row for row in rows if row.metric.endswith(("ttft_ms", "tpot_ms", "e2el_ms"))]
        assert len(times) == 15
        assert all(abs(row.error) < 1e-6 for row in times)
        assert not reference.warnings(one, other)


@pytest.mark.parametrize(
    ("other", "anchor", "message"),
    [
        ({"model": "org/other"}, "arrival", "the models differ: run /x/Model.json, reference org/other"),
        ({"completed": 1000}, "arrival", "the numbers of requests differ: run 40, reference 1,000"),
        ({"input_tokens": 203.0}, "arrival", "the prompts differ: run 200.0 tokens in the mean, reference 203.0"),
        ({"output_tokens": 25.0}, "arrival", "the answers differ: run 50.0 tokens"),
        ({}, "queued", "the reference is a client's"),
        ({"model": "else/model", "input_tokens": 201.0}, "arrival", None),
        ({"remarks": ("it decodes speculatively",)}, "arrival", "it decodes speculatively"),
        ({"model": None, "completed": None, "input_tokens": None, "output_tokens": None}, "arrival", None),
    ],
)
def test_what_is_warned_of(other, anchor, message):
    plain = {"model": "org/model", "completed": 40, "input_tokens": 200.0, "output_tokens": 50.0}
    run = reference.Reference({}, None, Sample(**{**plain, "model": "/x/Model.json"}))
    found = reference.warnings(run, reference.Reference({}, None, Sample(**{**plain, **other}), queued=False), anchor)
    assert found == [] if message is None else len(found) == 1 and message in found[0]


def test_warnings_are_told_and_are_in_the_json(cli, small, tmp_path):
    metronome.run(small, out=tmp_path / "run")
    path = written(tmp_path / "b.json", VLLM)
    done = cli("compare", tmp_path / "run", path)
    assert done.exit_code == 0 and "warning: the answers differ" in done.output
    data = json.loads(cli("compare", tmp_path / "run", path, "--json").stdout)
    assert any("the prompts differ" in text for text in data["warnings"])
    assert {"mean_itl_ms", "output_throughput"} <= {row["metric"] for row in data["rows"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.json", "{", "is not JSON"),
        ("r.json", "{}", "no result of `vllm bench serve`, AIPerf or GuideLLM"),
        ("r.json", "", "is empty"),
        ("r.json", '{"benchmarks": [{"metrics": {}}]}', "benchmarks.0.metrics.time_to_first_token_ms: is missing"),
        ("r.json", '{"time_to_first_token": {"unit": "days", "avg": 1}}', "unit = 'days': must be one of ns, us, ms"),
        ("r.csv", "Run Info,Run Info\n", "of GuideLLM give benchmarks.json"),
        ("r.jsonl", '{"metadata": {}, "metrics": {}}', "request_start_ns"),
        ("r.jsonl", '{"metadata": 1, "metrics": {}}', "metadata, metrics"),
        ("r.jsonl", '{"request_id": "a"}', "output_toks"),
    ],
)
def test_what_is_refused(tmp_path, name, text, message):
    with pytest.raises(InputError) as caught:
        reference.read(written(tmp_path / name, text=text), "arrival")
    assert message in str(caught.value)

"""The two real vLLM runs at hand, and the published peer's result on them."""

from __future__ import annotations

import json

import pytest
import yaml

from ..conftest import import_line
from . import serving

RUNS = {
    "Llama-3.1-8B": ("sharegpt-llama-3.1-8b-300-sps10", 36578, 19520),
    "Qwen3-32B": ("sharegpt-qwen3-32b-300-sps10", 28614, 20448),
}


@pytest.fixture(params=RUNS)
def imported(request, shared, cli, tmp_path):
    """(name, bench folder, scenario file) of a run, imported as its README command says."""
    name, scenario = request.param, tmp_path / "s.yaml"
    bench = shared / "llmss_main/bench/RTXPRO6000" / name
    done = cli(*import_line(bench, f"{RUNS[name][0]}.jsonl", scenario))
    assert done.exit_code == 0, done.output
    return name, bench, scenario


def peer_table(bench):
    """{(metric, statistic): (vLLM ms, peer ms)} of llmss_summary.txt."""
    rows = {}
    for line in (bench / "llmss_summary.txt").read_text().splitlines()[2:]:
        if line.strip():
            metric, statistic, real, simulated, _ = line.split()
            rows[metric, statistic] = float(real), float(simulated)
    return rows


KEY = {"TTFT": "ttft_ms", "TPOT": "tpot_ms", "Latency": "e2el_ms"}


def test_means_are_at_least_as_close_to_vllm_as_the_peers(imported, cli, tmp_path):
    name, bench, scenario = imported
    assert cli("run", scenario, "-o", tmp_path / "out", "--quiet").exit_code == 0
    own = json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert list(own["kv_blocks"].values()) == [RUNS[name][1]]
    assert own["prefix_hit_tokens"] == RUNS[name][2]
    assert (own["preemptions"], own["recomputed_tokens"]) == (0, 0)
    for anchor in ("arrival", "queued"):
        done = cli("compare", tmp_path / "out", bench / "vllm/requests.jsonl", "--anchor", anchor, "--json")
        errors = {row["metric"]: row["error"] for row in json.loads(done.output)["rows"]}
        for (metric, statistic), (real, peer) in peer_table(bench).items():
            if statistic == "Mean":
                allowed = round(abs(peer - real) / real, 3)  # as printed there, to 0.1 %
                assert abs(errors[f"mean_{KEY[metric]}"]) <= allowed, (anchor, metric)


def test_the_scheduler_gives_the_peers_very_figures_under_the_peers_cost_model(imported, cli, tmp_path):
    name, bench, path = imported
    scenario = yaml.safe_load(path.read_text())
    bundle = scenario["components"]["n0.accelerators"]["bundle"]
    scenario["components"] = {"n0.accelerators": {"model": "tests.accuracy.published:Published", "bundle": bundle}}
    if name == "Qwen3-32B":
        scenario["components"]["link0"] = {"model": "tests.accuracy.published:PublishedLink"}
    scenario["cluster"]["nodes"][0]["memory"] = {}
    scenario["instances"][0]["engine"]["version"] = "ideal"
    path.write_text(yaml.safe_dump(scenario))
    assert cli("run", path, "-o", tmp_path / "out", "--quiet").exit_code == 0
    result = json.loads((tmp_path / "out/result.json").read_text())
    for (metric, statistic), (_, peer) in peer_table(bench).items():
        assert result[f"{statistic.lower()}_{KEY[metric]}"] == pytest.approx(peer, abs=0.051), (metric, statistic)


def test_the_runs_of_the_older_profiles(shared, tmp_path):
    """One set of engine parameters for all three."""
    rows = {(row.reference, row.metric): row for row in serving.old_rows(shared, tmp_path)}
    series = "WAPE of generated tokens/s"
    assert rows["A6000 Llama-3.1-8B x 2", series].error <= 0.06
    assert abs(rows["A6000 Llama-3.1-8B x 2", "end (s)"].simulated - 49) <= 2
    assert rows["A6000 Phi-mini-MoE", series].error <= 0.08
    assert abs(rows["A6000 Phi-mini-MoE", "end (s)"].simulated - 81) <= 2
    assert abs(rows["H100 x 4 Llama-3.1-70B", "output tokens/s"].error) <= 0.03
    assert abs(rows["H100 x 4 Llama-3.1-70B", "mean TTFT (ms)"].error) <= 0.07
    assert abs(rows["H100 x 4 Llama-3.1-70B", "mean TPOT (ms)"].error) <= 0.02
    caching = "A6000 Llama-3.1-8B, prefix caching"
    # Of the 48 GiB CUDA reports fewer, by how many no public log at hand says.
    assert abs(rows[caching, "num_gpu_blocks"].error) <= 0.025
    assert rows[caching, "prefix hit tokens"].real == rows[caching, "prefix hit tokens"].simulated == 21264

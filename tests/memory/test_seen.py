"""What a run with K and V off the devices shows of it: results, series, table, and trace."""

from __future__ import annotations

import csv
import json

import pytest
from metronome.orchestrator.debug import state
from metronome.orchestrator.simulation import Simulation

from .small import TIERED, ran, tiered


def write(tmp_path, content, name="tiered.yaml"):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def result(tmp_path_factory, request):
    from tests.conftest import Cli

    folder = tmp_path_factory.mktemp("seen")
    ran = Cli()("run", write(folder, TIERED), "-o", folder / "out", "--trace")
    assert ran.exit_code == 0, ran.output
    return folder / "out", ran.output


def test_results_and_table_tell_of_each_tier(result):
    folder, printed = result
    own = json.loads((folder / "result.json").read_text())["metronome"]
    tier = own["kv_tiers"]["host"]
    assert tier["memory"] == ["n0.dram"] and tier["pools"] == 2 and 3.9 < tier["size_gib"] <= 4
    assert tier["bytes_in"] == tier["stored_chunks"] * tier["chunk_bytes"] == tier["stored_chunks"] * 16 * 131072
    assert tier["bytes_out"] == tier["hit_chunks"] * tier["chunk_bytes"] > 0 and tier["stall_ms"] > 0
    held = tier["stored_chunks"] - tier["evicted_chunks"]
    assert tier["used_gib"] == pytest.approx(held * tier["chunk_bytes"] / 2**30)
    assert "KV tier host" in printed and f"{tier['hit_chunks']} chunks recalled" in printed


def test_the_series_adds_up_to_the_totals(result):
    folder, _ = result
    rows = list(csv.DictReader((folder / "timeseries.csv").open()))
    tier = json.loads((folder / "result.json").read_text())["metronome"]["kv_tiers"]["host"]
    assert sum(float(row["tier_host_in_gb"]) for row in rows) == pytest.approx(tier["bytes_in"] / 1e9, rel=1e-3)
    assert sum(float(row["tier_host_out_gb"]) for row in rows) == pytest.approx(tier["bytes_out"] / 1e9, rel=1e-3)
    assert sum(float(row["tier_host_hits"]) for row in rows) == tier["hit_chunks"] > 0
    assert sum(float(row["tier_host_stall_ms"]) for row in rows) == pytest.approx(tier["stall_ms"], rel=1e-3)
    assert float(rows[-1]["tier_host_used"]) == pytest.approx(tier["used_gib"] / tier["size_gib"], abs=0.02)


def test_blocks_that_were_still_copied_from_are_free_in_the_series(tmp_path, cli):
    rare = json.loads(json.dumps(TIERED))
    rare["workload"] |= {"request_rate": 0.3, "num_requests": 6}
    rare["workload"]["output_tokens"] = {"mean": 20, "max": 20}
    cli("run", write(tmp_path, rare), "-o", tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out/timeseries.csv").open()))
    idle = [float(row["kv_used"]) for row in rows if row["running"] == row["waiting"] == "0"]
    assert idle and not any(idle)


def test_cached_blocks_are_counted_apart_from_blocks_in_use(result):
    folder, _ = result
    rows = list(csv.DictReader((folder / "timeseries.csv").open()))
    shares = [(float(row["kv_used"]), float(row["kv_cached"])) for row in rows]
    assert all(min(used, cached) >= 0 and used + cached <= 1 for used, cached in shares)
    assert shares[-1][0] == 0 and shares[-1][1] > 0.8  # all have ended, and what they left can be found


def test_without_tiers_nothing_is_said_of_them(tmp_path, cli):
    plain = {key: value for key, value in TIERED.items() if key != "kv_offloading"}
    cli("run", write(tmp_path, plain), "-o", tmp_path / "out")
    assert "kv_tiers" not in json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert "tier" not in (tmp_path / "out/timeseries.csv").read_text()


def test_the_trace_has_copies_and_counts(result):
    folder, _ = result
    data = (folder / "trace.pftrace").read_bytes()
    assert b"tier host" in data and b"recall of " in data and b"store of " in data


def test_the_debugger_shows_pools(tmp_path):
    shown = state.tree(ran(tmp_path), lambda name: None)
    for engine in ("a-0", "a-1"):
        pool = state.resolve(shown, f"pools/{engine}/host")
        assert pool["used"] == pool["stored"] - pool["evicted"] > 0 and pool["hits"] > 0
    plain = tiered(kv_offloading=None)
    with Simulation(plain, tmp_path) as simulation:
        assert "pools" not in state.tree(simulation, lambda name: None)


def test_a_chunk_is_refused_once_a_request(tmp_path, cli):
    """A pool of a few chunks never has room for a prompt, which is offered with every step."""
    small = json.loads(json.dumps(TIERED))
    small["kv_offloading"]["tiers"][0]["size_gib"] = 0.02
    cli("run", write(tmp_path, small), "-o", tmp_path / "out")
    result = json.loads((tmp_path / "out/result.json").read_text())
    tier = result["metronome"]["kv_tiers"]["host"]
    most = (result["total_input_tokens"] + result["total_output_tokens"]) // 16
    assert 0.5 * most < tier["refused_chunks"] + tier["stored_chunks"] <= most


@pytest.mark.parametrize("other", [{"kv_cache_dtype": "fp8"}, {"block_size": 32}])
def test_chunks_of_different_sizes_are_counted_apart(tmp_path, cli, other):
    mixed = json.loads(json.dumps(TIERED))
    one = mixed["instances"][0] | {"replicas": 1, "accelerators": "n0[0]"}
    engine = one["engine"] | other
    mixed["instances"] = [one, one | {"name": "b", "accelerators": "n0[1]", "engine": engine}]
    cli("run", write(tmp_path, mixed), "-o", tmp_path / "out")
    tier = json.loads((tmp_path / "out/result.json").read_text())["metronome"]["kv_tiers"]["host"]
    assert tier["chunk_bytes"] is None and len(tier["by_chunk_bytes"]) == 2
    for some in tier["by_chunk_bytes"]:
        assert some["bytes_in"] == some["stored_chunks"] * some["chunk_bytes"] > 0
        held = some["stored_chunks"] - some["evicted_chunks"]
        assert some["used_gib"] == pytest.approx(held * some["chunk_bytes"] / 2**30)
    for key in ("pools", "chunks", "stored_chunks", "bytes_in", "used_gib"):
        assert tier[key] == sum(some[key] for some in tier["by_chunk_bytes"]), key


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"instances__0__engine__kv_offloading_backend": "lmcache", "kv_offloading": None},
            "engine.kv_offloading_backend lmcache has no effect without a kv_offloading_size",
        ),
        ({"kv_offloading__chunk_blocks": 100}, "K and V tiers have no effect: a chunk has 1,600 tokens, the longest"),
        ({"kv_offloading__tiers__0__pin_sessions": True}, "kv_offloading.tiers.0.pin_sessions has no effect"),
        ({"kv_offloading__tiers__0__eviction": "session"}, "kv_offloading.tiers.0.eviction session goes by request"),
        ({}, ""),
    ],
)
def test_what_has_no_effect_is_said_at_the_end(tmp_path, change, told):
    run = ran(tmp_path, workload__num_requests=5, **change)
    assert [text[: len(told)] for text in run.warnings] == [told] * bool(told)


def test_prometheus_tells_tiers_from_the_prefix_cache(tmp_path, cli):
    """As vLLM does: what a connector finds is external."""
    content, folder = json.loads(json.dumps(TIERED)), tmp_path / "out"
    content["instances"][0]["engine"]["max_num_seqs"] = 2
    assert cli("run", write(tmp_path, content), "-o", folder).exit_code == 0
    assert cli("report", "--format", "prometheus", folder, "-o", tmp_path / "m").exit_code == 0
    found = {}
    for line in (tmp_path / "m").read_text().splitlines():
        if "prefix_cache" in line and not line.startswith("#"):
            found[line.partition("{")[0]] = float(line.rpartition(" ")[2])
    own = json.loads((folder / "result.json").read_text())["metronome"]
    rows = list(csv.DictReader((folder / "requests.csv").open()))
    assert own["preemptions"] == 0 and found["vllm:prefix_cache_hits_total"] == own["prefix_hit_tokens"]
    whole = sum(int(row["prefix_hit"]) for row in rows)
    assert found["vllm:external_prefix_cache_hits_total"] == whole - own["prefix_hit_tokens"] > 0
    asked = sum(int(row["input"]) for row in rows)
    assert found["vllm:prefix_cache_queries_total"] == asked
    assert found["vllm:external_prefix_cache_queries_total"] == asked - own["prefix_hit_tokens"]

from __future__ import annotations

import csv
import json
from itertools import pairwise

import pytest
import yaml
from metronome.orchestrator.cli.main import COMMANDS

KEYS = [
    "duration",
    "completed",
    "total_input_tokens",
    "total_output_tokens",
    "request_throughput",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
]
OWN = [
    "version",
    "seed",
    "scenario_digest",
    "simulated_s",
    "startup_s",
    "wall_s",
    "steps",
    "preemptions",
    "recomputed_tokens",
    "prefix_hit_tokens",
    "kv_blocks",
    "energy_j",
    "joules_per_output_token",
    "components",
]


@pytest.fixture
def finished(small, cli, tmp_path):
    """(result.json, folder) of the small scenario, run."""
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "TTFT (ms)" in done.output
    return json.loads((tmp_path / "out/result.json").read_text()), tmp_path / "out"


def test_result_json_has_the_keys_of_the_contract(finished):
    result, _ = finished
    statistics = [
        f"{what}_{name}"
        for what in ("mean", "median", "std", "p90", "p95", "p99")
        for name in ("ttft_ms", "tpot_ms", "itl_ms", "e2el_ms")
    ]
    assert not set(KEYS + statistics) - set(result)
    assert not set(OWN) - set(result["metronome"])
    for component in result["metronome"]["components"].values():
        assert {"calls", "cached", "wall_s", "provenance"} <= set(component)
        assert sum(component["provenance"].values()) == component["calls"] >= component["cached"]


def test_requests_csv_adds_up_to_result_json(finished):
    result, folder = finished
    rows = list(csv.DictReader((folder / "requests.csv").open()))
    assert [int(row["id"]) for row in rows] == list(range(40)) and result["completed"] == 40
    assert sum(int(row["output"]) for row in rows) == result["total_output_tokens"]
    ttft = [int(row["first_token"]) - int(row["arrival"]) for row in rows]
    assert sum(ttft) / 40 / 1e6 == pytest.approx(result["mean_ttft_ms"], rel=1e-6)
    assert sum(int(row["e2el"]) for row in rows) / 40 / 1e6 == pytest.approx(result["mean_e2el_ms"], rel=1e-6)
    for row in rows:
        times = [int(row[name]) for name in ("arrival", "queued", "scheduled", "first_token", "end")]
        assert times == sorted(times)
    assert sum(int(row["preemptions"]) for row in rows) == result["metronome"]["preemptions"]


def test_timeseries_csv_adds_up_to_result_json(finished):
    result, folder = finished
    rows = list(csv.DictReader((folder / "timeseries.csv").open()))
    assert sum(int(row["generation_throughput"]) for row in rows) == result["total_output_tokens"]
    own = result["metronome"]
    computed = result["total_input_tokens"] - own["prefix_hit_tokens"] + own["recomputed_tokens"]
    prompts = sum(int(row["prompt_throughput"]) for row in rows)
    assert prompts <= computed + own["prefix_hit_tokens"]
    assert len(rows) == int(-(-own["simulated_s"] // 1))
    assert (rows[-1]["running"], rows[-1]["waiting"], rows[-1]["kv_used"]) == ("0", "0", "0.000000")
    ends = [min(second, own["simulated_s"]) for second in range(len(rows) + 1)]  # the last bin ends with the run
    drawn = (float(row["power_w"]) * (end - begin) for row, (begin, end) in zip(rows, pairwise(ends), strict=True))
    assert sum(drawn) == pytest.approx(own["energy_j"], rel=1e-6)


def test_itl_is_pooled_over_tokens(finished):
    """Its mean is decode time over decode tokens, to be had from requests.csv alone."""
    result, folder = finished
    rows = list(csv.DictReader((folder / "requests.csv").open()))
    decoding = sum(int(row["end"]) - int(row["first_token"]) for row in rows)
    gaps = sum(int(row["output"]) - 1 for row in rows)
    assert result["mean_itl_ms"] == pytest.approx(decoding / gaps / 1e6, rel=1e-6)


def test_a_run_compared_with_itself_has_no_error(finished, cli):
    _, folder = finished
    done = cli("compare", folder, folder, "--json")
    data = json.loads(done.output)
    assert len(data["rows"]) == 24 and all(row["error"] == 0 for row in data["rows"])
    assert data["mape_e2el_ms"] == 0 and data["matched_requests"] == 40
    assert "+0.00%" in cli("compare", folder, folder / "result.json").output


def test_compare_anchors(finished, cli, tmp_path):
    """A vLLM file whose requests were queued 1 s after arrival, first token 2 s, end 4 s after that."""
    _, folder = finished
    rows = [
        {
            "request_id": f"bench-{i}",
            "input_toks": 5,
            "output_toks": 3,
            "arrival_time": 1e9 + i,
            "queued_ts": 50.0 + i + (i > 0),
            "scheduled_ts": 0,
            "first_token_ts": 53.0 + i,
            "last_token_ts": 57.0 + i,
        }
        for i in range(3)
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def mean(anchor):
        data = json.loads(cli("compare", folder, tmp_path / "r.jsonl", "--anchor", anchor, "--json").output)
        return {row["metric"]: row["reference"] for row in data["rows"]}

    assert mean("arrival")["mean_ttft_ms"] == pytest.approx(3000)
    assert mean("queued")["mean_ttft_ms"] == pytest.approx((3000 + 2000 + 2000) / 3)
    assert mean("queued")["mean_tpot_ms"] == pytest.approx(2000)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(cli, command):
    done = cli(command, "--help")
    assert done.exit_code == 0 and len(done.output) > 100


def test_components_names_what_the_contract_asks(cli):
    rows = {row["name"]: row for row in json.loads(cli("components", "--json").output)}
    reference = {
        "profiled",
        "roofline",
        "systolic",
        "systolic-mem",
        "alpha-beta",
        "fabric",
        "bandwidth-latency",
        "dram-pim",
    }
    tools = {"scalesim", "aiconfigurator", "aiconfigurator-network", "ns3", "verilator", "verilator-mem"}
    tools |= {"systemc", "systemc-lasting", "fmi", "fmi-network"}
    user_built = {"ramulator2", "dramsim3", "dramsim3-library", "booksim2", "astrasim", "attacc", "aim"}
    assert set(rows) == reference | {"banked-dram", "composite", "island"} | tools | user_built
    for row in rows.values():
        assert {"kind", "time_policy", "op_kinds", "features", "installed", "config_schema"} <= set(row)
    assert rows["bandwidth-latency"]["time_policy"] == "conservative"


def test_the_schema_is_published(cli):
    schema = json.loads(cli("validate", "--schema").output)
    assert {"workload", "cluster", "instances", "components"} <= set(schema["properties"])


def test_an_agentic_session_waits_for_its_tools(small, cli, tmp_path):
    turns = [{"input_toks": 40, "output_toks": 5, "tool_duration_ns": 10**9}, {"input_toks": 60, "output_toks": 5}]
    (tmp_path / "w.jsonl").write_text(json.dumps({"session_id": "s", "arrival_time_ns": 7, "sub_requests": turns}))
    small["workload"] = {"format": "llmservingsim", "path": "w.jsonl"}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").exit_code == 0
    first, second = csv.DictReader((tmp_path / "out/requests.csv").open())
    assert int(second["arrival"]) - int(first["end"]) in (10**9, 10**9 + 1)  # both rounded down to ns


@pytest.mark.parametrize("policy", ["round-robin", "random", "least-loaded"])
def test_routers_use_every_instance(small, cli, tmp_path, policy):
    small["router"] = {"policy": policy}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").exit_code == 0
    names = [row["instance"] for row in csv.DictReader((tmp_path / "out/requests.csv").open())]
    assert set(names) == {"a", "b"}
    if policy == "round-robin":
        assert names == ["a", "b"] * 20

"""Cluster files of LLMServingSim from its forks and issues (cases 57, 58, 67, 68)."""

from __future__ import annotations

import json

import pytest
from metronome.orchestrator.report.result import Result


@pytest.fixture
def imported(cli, cases, shared, tmp_path):
    """`metronome import llmservingsim` as the cases have it."""

    def run(name, cluster=None):
        main, path = shared / "llmss_main", cases / name / "cluster.json"
        if cluster is not None:
            path = tmp_path / "cluster.json"
            path.write_text(json.dumps(cluster))
        sources = ["--profiles", main / "profiler/perf", "--models", main / "configs/model", "--limit", 30]
        workload = main / "workloads/sharegpt-qwen3-32b-300-sps10.jsonl"
        return cli("import", "llmservingsim", path, *sources, "--workload", workload, "-o", tmp_path / "s.yaml")

    return run


def test_links_of_each_dimension_have_their_own_figures(cli, cases, imported, tmp_path):
    """Well between what the quick links alone give and the slow ones alone; it was the quick ones' to the digit."""
    name = "57-import-two-node-moe-dp-ep-array-links"
    cluster = json.loads((cases / name / "cluster.json").read_text())
    tpot = {}
    for bandwidth, latency in (([128, 16], [500, 20000]), (128, 500), (16, 20000)):
        done = imported(name, {**cluster, "link_bw": bandwidth, "link_latency": latency})
        assert done.exit_code == 0, done.output
        assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").exit_code == 0
        tpot[str(bandwidth)] = Result.read(tmp_path / "out")["mean_tpot_ms"]
    assert tpot["128"] + 2 < tpot["[128, 16]"] < tpot["16"] - 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("58-import-hetero-tp-hardware", "tp_hardware is refused: ranks of one instance are on unlike devices"),
        ("67-import-typo", "unknown key 'tp_sise'; did you mean 'tp_size'?"),
        ("68-import-countmismatch", "num_nodes = 3: there are 5"),
    ],
)
def test_what_is_refused(imported, tmp_path, name, message):
    done = imported(name)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output
    assert not (tmp_path / "s.yaml").exists()

"""The visible vLLM 0.19 run of Llama-3.1-8B on RTX PRO 6000: from one half of its log the other's errors fall."""

from __future__ import annotations

import json

import yaml

from ..conftest import import_line


def test_errors_of_the_half_that_was_held_out_fall_and_it_says_by_which_part(shared, cli, tmp_path):
    bench, scenario = shared / "llmss_main/bench/RTXPRO6000/Llama-3.1-8B", tmp_path / "s.yaml"
    made = cli(*import_line(bench, "sharegpt-llama-3.1-8b-300-sps10.jsonl", scenario))
    assert made.exit_code == 0, made.output
    done = cli("calibrate", bench / "vllm/requests.jsonl", scenario, "-o", tmp_path / "factors.yaml", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert "which are the log's" in found["load"]
    for half in found["halves"]:
        for metric in ("ttft", "tpot"):
            assert half["calibrated"][metric] < half["as_is"][metric] / 2, half
    changed = {one["part"]: one["factor"] for one in found["verdicts"] if one["factor"] is not None}
    assert changed and changed == yaml.safe_load((tmp_path / "factors.yaml").read_text())["factors"]
    assert changed["gemm"] > 1.05 and changed["prompt_attention"] < 0.9
    assert all(one["why"] for one in found["verdicts"])

"""The fidelity ladder: one scenario, one model after another."""

from __future__ import annotations

import json

import yaml


def test_each_model_runs_and_the_table_says_what_it_changes(cli, tmp_path, small):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    slow = "tests.coupling.fakes:SteppedNetwork"
    done = cli(
        "run", tmp_path / "s.yaml", "--compare-fidelity", f"network=alpha-beta,fabric,{slow}", "-o", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    for row in ("TTFT (ms)", "TPOT (ms)", "output tokens/s", "answers", "of them asked for", "whole loop (s)"):
        assert row in done.output
    results = {p.parent.name: json.loads(p.read_text()) for p in (tmp_path / "out").glob("*/result.json")}
    assert set(results) == {"alpha-beta", "fabric", "tests.coupling.fakes-SteppedNetwork"}
    for name, result in results.items():
        assert result["metronome"]["components"]["nvlink0"]["model"].replace(":", "-") == name
    first, fabric = results["alpha-beta"]["mean_ttft_ms"], results["fabric"]["mean_ttft_ms"]
    assert f"({(fabric - first) / first:+.1%})" in done.output
    assert "no effect" not in done.output, "of what the scenario does not say"


def test_what_the_scenario_says_and_a_model_does_not_read_is_still_named(cli, tmp_path, small):
    small["cluster"]["networks"][0]["topology"] = "ring"
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "--compare-fidelity", "network=alpha-beta", "-o", tmp_path / "out")
    said = [line for line in done.output.splitlines() if "no effect" in line]
    assert len(said) == 1 and "networks.nvlink0.topology has no effect: alpha-beta" in said[0], done.output


def test_one_component_by_name(cli, tmp_path, small):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert (
        cli(
            "run", tmp_path / "s.yaml", "--compare-fidelity", "nvlink0=alpha-beta", "-o", tmp_path / "out", "--quiet"
        ).exit_code
        == 0
    )


def test_what_cannot_be_compared(cli, tmp_path):
    for ladder, why in (
        ("foo=alpha-beta", "KIND is one of"),
        ("network", "KIND=MODEL"),
        ("network=nobody", "one of aiconfigurator"),
        ("network=roofline", "models a piece of accelerator"),
    ):
        done = cli("run", "quickstart", "--compare-fidelity", ladder, "-o", tmp_path / "out", "--quiet")
        assert done.exit_code == 2 and why in done.output

"""What is known to be off is found, and what cannot be told is not claimed."""

from __future__ import annotations

import json

import metronome
import pytest
import yaml
from metronome.orchestrator.calibrate.finding import Finding, Half, Verdict

from .truth import VARIED, busy, served, spaced


def calibrated(cli, log, scenario, out):
    done = cli("calibrate", log, scenario, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    return found, {one["part"]: one for one in found["verdicts"]}


def test_host_and_decode_attention_are_recovered(cli, tmp_path):
    log, scenario = served(VARIED, {"host": 1.5, "decode_attention": 1.2}, tmp_path)
    found, verdicts = calibrated(cli, log, scenario, tmp_path / "factors.yaml")
    proposed = {part: one["factor"] for part, one in verdicts.items() if one["factor"] is not None}
    assert proposed == {"host": pytest.approx(1.5, rel=0.01), "decode_attention": pytest.approx(1.2, rel=0.01)}
    for part, factor in proposed.items():
        low, high = verdicts[part]["interval"]
        assert low <= factor <= high and not low <= 1 <= high
    for half in found["halves"]:
        assert all(half["calibrated"][metric] < half["as_is"][metric] / 5 for metric in half["as_is"])
    # the file makes the scenario what the server was
    data = yaml.safe_load(scenario.read_text()) | {"calibration": "factors.yaml"}
    scenario.write_text(yaml.safe_dump(data))
    truth = metronome.run({**VARIED, "calibration": {"factors": {"host": 1.5, "decode_attention": 1.2}}})
    again = metronome.run(scenario)
    assert again["mean_e2el_ms"] == pytest.approx(truth["mean_e2el_ms"], rel=0.01)
    assert again["metronome"]["calibration"]["factors"] == proposed
    assert again["metronome"]["components"]["n0.accelerators"]["provenance"]["calibrated"] > 0


@pytest.mark.parametrize(
    ("scenario", "factors"),
    [
        (spaced(0), {"host": 1.5}),
        (busy(0), {"decode_attention": 3}),  # halves of one shape support each other: GEMMs x1.17 would do
        (busy(0.05), {"decode_attention": 3}),
        (busy(0) | {"name": "closed"}, {"gemm": 1.25}),
    ],
    ids=["one after another", "busy", "within 5 %", "closed"],
)
def test_a_log_of_one_shape_names_no_part(scenario, factors, cli, tmp_path):
    if scenario["name"] == "closed":
        scenario["workload"] |= {"request_rate": "inf", "max_concurrency": 16}
    log, path = served(scenario, factors, tmp_path)
    found, verdicts = calibrated(cli, log, path, tmp_path / "factors.yaml")
    assert all(one["factor"] is None for one in verdicts.values())
    assert "cannot tell" in verdicts["gemm"]["why"] and verdicts["link"]["why"] == "not in this run"
    assert found["runs"] == 1 and not (tmp_path / "factors.yaml").exists()
    said = cli("calibrate", log, path, "-o", tmp_path / "factors.yaml").output
    assert "too alike to tell parts apart" in said and "To tell them apart" in said and "nothing is proposed" in said


def test_of_a_varied_log_one_metric_that_is_off_is_enough(cli, tmp_path):
    """Prompts do not feel attention of decodes: TTFT is as measured, and does not hide that TPOT is not."""
    log, path = served(spaced(0.5), {"decode_attention": 1.3}, tmp_path)
    _, verdicts = calibrated(cli, log, path, tmp_path / "factors.yaml")
    proposed = {part: one["factor"] for part, one in verdicts.items() if one["factor"] is not None}
    assert proposed == {"decode_attention": pytest.approx(1.3, rel=0.01)}


def test_what_lowers_one_metric_at_the_cost_of_another_is_not_supported():
    half = Half("first half", {"ttft": 0.09, "tpot": 0.15}, {"ttft": 0.12, "tpot": 0.02})
    assert half.worse(0.0005) and not half.worse(0.05)
    assert not Half("first half", {"ttft": 0.09}, None).worse(0)


def test_sets_of_parts_that_explain_alike_are_told():
    rivals = ({"host": 1.5}, {"gemm": 1.1, "decode_attention": 1.2})
    said = Finding("log", "load", (Verdict("host", None, None, "see below"),), (), rivals, 364.0, 40).as_text()
    assert "cannot tell these apart" in said and "host x1.500\n" in said and "To tell them apart" in said


def test_nothing_is_proposed_where_nothing_is_off(cli, tmp_path):
    log, scenario = served(spaced(0), {}, tmp_path)
    found, verdicts = calibrated(cli, log, scenario, tmp_path / "factors.yaml")
    assert all(one["factor"] is None for one in verdicts.values())
    assert found["runs"] == 1

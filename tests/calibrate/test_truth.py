"""What is known to be off is found, and what cannot be told is not claimed."""

from __future__ import annotations

import json

import metronome
import pytest
import yaml
from metronome.orchestrator.calibrate.finding import described

from .truth import VARIED, alike, served


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


def test_parts_that_look_alike_are_not_told_apart(cli, tmp_path):
    log, scenario = served(alike(), {"host": 1.5}, tmp_path)
    found, verdicts = calibrated(cli, log, scenario, tmp_path / "factors.yaml")
    assert all(one["factor"] is None for one in verdicts.values())
    assert any("cannot tell" in one["why"] for one in verdicts.values())
    assert any("host" in rival for rival in found["rivals"])  # the truth is among what it might be
    assert len(found["rivals"]) > 1 and len({tuple(sorted(rival)) for rival in found["rivals"]}) > 1
    assert not (tmp_path / "factors.yaml").exists()
    said = cli("calibrate", log, scenario, "-o", tmp_path / "factors.yaml")  # and the same twice
    assert "cannot tell these apart" in said.output and "nothing is proposed" in said.output
    for rival in found["rivals"]:
        assert described(rival) in said.output


def test_nothing_is_proposed_where_nothing_is_off(cli, tmp_path):
    log, scenario = served(alike(), {}, tmp_path)
    found, verdicts = calibrated(cli, log, scenario, tmp_path / "factors.yaml")
    assert all(one["factor"] is None for one in verdicts.values())
    assert found["runs"] == 1

"""Intervals of means by running again with quicker and slower components."""

from __future__ import annotations

import json

import metronome
import pytest
import yaml
from metronome.orchestrator import reruns
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.kernel.loop import Kernel
from metronome.orchestrator.report.uncertainty import MEANS
from metronome.orchestrator.scenario.calibration import PARTS


def bars(result):
    return result.metrics["metronome"]["error_bars"]


def test_they_are_the_means_of_three_runs(small):
    """With one component its error is the run's, and so the scenario's calibration can say the same."""
    small["instances"] = [{"name": "alone", "model": "meta-llama/Llama-3.1-8B", "accelerators": "n0[0:1]"}]
    del small["cluster"]["networks"]
    plain, wide = metronome.run(small), metronome.run(small, intervals=True)
    means, error = [plain.metrics], bars(plain)["relative"]
    for sign in (-1, 1):
        factors = {part: 1 + sign * error for part in PARTS if part not in ("host", "api_server", "link")}
        means.append(metronome.run({**small, "calibration": {"factors": factors}}).metrics)
    for name in MEANS:
        known = [of[name] for of in means]
        assert bars(wide)[name] == pytest.approx([min(known), max(known)], rel=1e-3)  # the DRAM has an error, too
    assert bars(wide)["runs"] == 3 and "runs" not in bars(plain)
    assert {name: wide.metrics[name] for name in MEANS} == {name: plain.metrics[name] for name in MEANS}


def test_a_queue_makes_those_of_the_first_token_wider():
    plain, wide = bars(metronome.run("quickstart")), bars(metronome.run("quickstart", intervals=True))
    low, high = wide["mean_ttft_ms"]
    assert low < plain["mean_ttft_ms"][0] and high > 2 * plain["mean_ttft_ms"][1]
    assert wide["relative"] == plain["relative"]


def test_the_command_writes_them(small, tmp_path, cli):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--intervals")
    assert done.exit_code == 0 and "of 3 runs" in done.output, done.output
    own = json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert own["error_bars"] == bars(metronome.run(tmp_path / "s.yaml", intervals=True))
    refused = cli("run", tmp_path / "s.yaml", "--intervals", "--compare-fidelity", "network=alpha-beta,fabric")
    assert refused.exit_code == 2 and "--intervals" in refused.output


def test_a_component_that_shares_the_clock_keeps_its_times():
    wide = bars(metronome.run("shared-uplink", intervals=True))
    assert wide["left"] and wide["runs"] == 3


def test_a_run_that_ends_early_is_not_run_again(small, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(reruns, "intervals", lambda *_: pytest.fail("run again"))
    monkeypatch.setattr(Kernel, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        metronome.run(small, intervals=True)


@pytest.mark.parametrize("ends", [KeyboardInterrupt, InputError("scenario", "x", 1, "cannot be")])
def test_what_ends_the_others_takes_nothing_from_the_first(small, tmp_path, cli, monkeypatch, ends):
    def stop(*_):
        assert not (tmp_path / "out/running.json").exists()
        raise ends

    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "plain", "--quiet").exit_code == 0
    monkeypatch.setattr(reruns, "intervals", stop)
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--intervals")
    assert done.exit_code in (2, 130) and "the run is complete" in done.output, done.output
    both = [(tmp_path / name / "requests.csv").read_bytes() for name in ("plain", "out")]
    own = json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert both[0] == both[1] and own["status"] == "complete" and "runs" not in own["error_bars"]

"""What is written when the end of a run goes wrong."""

from __future__ import annotations

import json

import metronome
import pytest
import yaml


@pytest.mark.parametrize("run", ["inprocess", "process"])
def test_figures_that_a_component_cannot_give_lose_no_results(run, small, cli, tmp_path, monkeypatch):
    module = tmp_path / "forgetful.py"
    module.write_text(
        "from hwmodels.interface import ComponentError\nfrom hwmodels.network.alpha_beta import AlphaBeta\n"
        "class Forgetful(AlphaBeta):\n    def statistics(self, uses=()):\n        raise ComponentError('lost my notes')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    small["components"] = {"nvlink0": {"model": "forgetful:Forgetful", "run": run}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 0, done.output
    own = json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert own["status"] == "complete"
    assert "lost my notes" in own["components"]["nvlink0"]["statistics"]["error"]


def test_what_components_tell_is_in_one_order_wherever_they_run(small):
    """A message's keys come in any."""
    small["cluster"]["networks"][0] |= {"type": "nvlink4"}
    del small["cluster"]["networks"][0]["bandwidth_gb_s"], small["cluster"]["networks"][0]["latency_ns"]
    small["instances"][1]["tensor_parallel_size"] = 2
    small["components"] = {"nvlink0": {"model": "fabric"}}
    told = []
    for where in ("inprocess", "process"):
        for name in ("nvlink0", "n0.accelerators"):
            small["components"].setdefault(name, {})["run"] = where
        own = metronome.run(small).metrics["metronome"]
        told.append(json.dumps([part["statistics"] for part in own["components"].values() if "statistics" in part]))
    assert told[0] == told[1] and "busy_s" in told[0] and "kernels" in told[0]


def test_a_request_exactly_at_the_limit_is_good(small, cli, tmp_path):
    small["workload"]["num_requests"] = 1

    def run():
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
        assert cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet").exit_code == 0
        return json.loads((tmp_path / "out/result.json").read_text())

    ttft_ms = run()["mean_ttft_ms"]
    for limit, good in ((ttft_ms, 1), (ttft_ms * (1 - 1e-12), 0)):
        small["slo"] = {"ttft_ms": limit}
        found = run()
        assert found["mean_ttft_ms"] == ttft_ms and round(found["request_goodput"] * found["duration"]) == good

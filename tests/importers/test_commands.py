"""Public command lines of vLLM, SGLang and TensorRT-LLM, as people ask about them, run or are refused with the reason."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from metronome.orchestrator.report.result import Result

from .test_recipes import CONFIGS, HERE, WORKLOAD

COMMANDS = yaml.safe_load((HERE / "commands.yaml").read_text())


def test_there_are_sixteen_of_three_tools():
    assert len(COMMANDS) == 16 and {one["tool"] for one in COMMANDS} == {"vllm", "sglang", "trtllm"}


@pytest.mark.parametrize("one", COMMANDS, ids=[f"{i}-{one['model']}" for i, one in enumerate(COMMANDS)])
def test_it_runs_or_says_why_not(cli, tmp_path, monkeypatch, one):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / one["model"]
    folder.mkdir(parents=True)
    config = dict(CONFIGS[one.get("config", one["model"])])
    if "quantization_config" in one:
        config["quantization_config"] = one["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    beside = ["--device", one["device"], "--models", "models", "--workload", WORKLOAD, "-o", "s.yaml"]
    beside += [f"--set={path}={value}" for path, value in one.get("set", {}).items()]
    words = shlex.split(one["command"])
    done = cli("import", one["tool"], *beside, "--", *words)
    if "refused" in one:
        assert done.exit_code == 2 and one["refused"] in done.output
        return
    assert done.exit_code == 0, done.output
    done = cli("run", "s.yaml", "-o", "out", "--quiet")
    assert done.exit_code == 0, done.output
    result = Result.read(tmp_path / "out")
    assert (result["completed"], result["failed"]) == (4, 0)
    written = Path("s.yaml").read_text()
    variables = [word.partition("=")[0] for word in words if word.startswith(("VLLM_", "SGL"))]
    assert all(name in written for name in variables)  # said not to be read

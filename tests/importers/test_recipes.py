"""Public command lines of vLLM, as they stand in its recipes, become scenarios that run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from metronome.orchestrator.report.result import Result

HERE = Path(__file__).parent
RECIPES = yaml.safe_load((HERE / "recipes.yaml").read_text())
CONFIGS = json.loads((HERE.parent / "lowering" / "configs.json").read_text())
WORKLOAD = "{format: random, random_input_len: 200, random_output_len: 6, num_prompts: 4}"


def test_they_are_of_fourteen_families():
    assert len({recipe["page"] for recipe in RECIPES}) == 14


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe["page"] for recipe in RECIPES])
def test_it_runs(cli, tmp_path, monkeypatch, recipe):
    monkeypatch.chdir(tmp_path)
    model, *flags = shlex.split(recipe["serve"])
    folder = tmp_path / "models" / model
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[recipe.get("config", model)]))
    if "quantised" in recipe:
        (folder / "hf_quant_config.json").write_text(json.dumps(recipe["quantised"]))
    if "flags" in recipe:
        (tmp_path / flags[flags.index("--config") + 1]).write_text(yaml.safe_dump(recipe["flags"]))
    beside = ["--device", recipe["device"], "--models", "models", "--workload", WORKLOAD]
    done = cli("import", "vllm", *beside, "--", "serve", model, *flags, "-o", "s.yaml")
    assert done.exit_code == 0, done.output
    done = cli("run", "s.yaml", "-o", "out", "--quiet")
    assert done.exit_code == 0, done.output
    result = Result.read(tmp_path / "out")
    assert (result["completed"], result["failed"]) == (4, 0)
    words = [*flags, *(f"--{key}" for key in recipe.get("flags", {}))]
    given = {word.replace("_", "-") for word in words if word.startswith("--")} - {"--config"}
    scenario = yaml.safe_load(Path("s.yaml").read_text())["instances"][0]
    taken = {key.replace("_", "-") for key in (*scenario, *scenario["engine"])}
    listed = [line for line in Path("s.yaml").read_text().splitlines() if line.startswith("# without effect: ")]
    for flag in given:
        name = flag.removeprefix("--").removeprefix("no-")
        assert name in taken or any(line.startswith(f"# without effect: {flag}: ") for line in listed), flag

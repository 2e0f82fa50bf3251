"""A recording stands alone: every way to name an input, and nothing in it that is not for others' eyes."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from metronome.hwmodels import catalog
from metronome.orchestrator.record.recording import Recording

MODEL = "meta-llama/Llama-3.1-8B"
REQUESTS = '{"input_toks": 20, "output_toks": 5, "arrival_time_ns": 0}\n'
FILES = ("result.json", "requests.csv", "timeseries.csv")


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("named", [f"models/{MODEL}", f"models/{MODEL}/config.json", f"models/{MODEL}.json", MODEL])
def test_every_way_to_name_a_model(small, cli, tmp_path, named, absolute):
    folder = tmp_path / "models" / MODEL
    folder.mkdir(parents=True)
    text = json.dumps(catalog.model_config(MODEL))
    (folder / "config.json").write_text(text)
    (folder.parent / f"{folder.name}.json").write_text(text)
    (tmp_path / "w.jsonl").write_text(REQUESTS)
    small["workload"] = {"format": "llmservingsim", "path": str(tmp_path / "w.jsonl") if absolute else "w.jsonl"}
    for instance in small["instances"]:
        instance["model"] = str(tmp_path / named) if absolute and named != MODEL else named
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--record", "--quiet")
    assert done.exit_code == 0, done.output
    shutil.move(tmp_path / "out" / "recording", tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "models")
    (tmp_path / "w.jsonl").unlink()
    done = cli("replay", tmp_path / "elsewhere", "-o", tmp_path / "again", "--quiet")
    assert done.exit_code == 0, done.output
    for name in FILES[1:]:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_secrets_stay_here(small, cli, tmp_path):
    small["components"] = {
        "n0.dram": {
            "container": {"environment": {"KEY": "hunter2"}},
            "address": {"target": "a:5", "ca": "ca.pem", "token_env": "MY_TOKEN"},
        }
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--record", "--quiet")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "recording" / "journal").read_bytes()
    assert b"hunter2" not in text and b"MY_TOKEN" not in text
    Recording(tmp_path / "out").journal.close()

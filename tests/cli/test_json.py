"""Every command answers programs, too: --json is JSON and nothing else."""

from __future__ import annotations

import json

import pytest
import yaml
from metronome.orchestrator.cli.main import COMMANDS, cli

SESSIONS = {
    "debug",
    "view",
    "serve-component",
    "serve-island",
}  # whoever speaks to these has a protocol: DAP, HTTP, the wire


def leaves(command, path):
    """Commands and those below them."""
    if not hasattr(command, "list_commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from leaves(command.get_command(None, name), (*path, name))


def test_every_command_has_it():
    without = {
        " ".join(path)
        for path, command in leaves(cli, ())
        if path[0] not in SESSIONS and not any("--json" in option.opts for option in command.params)
    }
    assert without == {"tools build", "tools install"} and set(COMMANDS) > {
        "debug",
        "view",
    }  # they print what the installers say


@pytest.fixture
def run(small, tmp_path, cli):
    """A recorded run."""
    small["workload"]["num_requests"] = 5
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "a", "--record", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["completed"] == 5
    (tmp_path / "memory.yaml").write_text("{bandwidth_gb_s: 100, latency_ns: 90}")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["replay", "a", "-o", "b"], lambda answer: answer["events"] > 5 and answer["completed"] == 5),
        (["diff", "a", "a"], lambda answer: answer["parting"] is None and answer["events"][0] > 5),
        (["report", "a"], lambda answer: answer["written"] == ["a/report.html"]),
        (["certs", "nvlink0"], lambda answer: "certs/nvlink0.key" in answer["written"]),
        (["new-adapter", "mine", "--kind", "memory"], lambda answer: any("mine" in one for one in answer["written"])),
        (["tools", "list"], lambda answer: answer["scalesim"]["what"]),
        (["cleanup"], lambda answer: isinstance(answer["removed"], list)),
        (
            ["import", "vllm", "-o", "v.yaml", "--json", "--", "vllm", "serve", "Qwen/Qwen3-32B", "-tp", "2"],
            lambda answer: answer["written"] == ["v.yaml"] and answer["notes"] and not answer["refused"],
        ),
        (
            ["conformance", "bandwidth-latency", "--config", "memory.yaml"],
            lambda answer: all(one["check"] for way in answer.values() for one in way),
        ),
    ],
)
def test_what_is_told(run, cli, monkeypatch, arguments, told):
    monkeypatch.chdir(run)
    done = cli(*arguments, *([] if "--json" in arguments else ["--json"]))
    assert done.exit_code in (0, 1) and told(json.loads(done.stdout)), done.output


def test_two_recordings_that_part(run, cli):
    assert cli("run", run / "s.yaml", "-o", run / "b", "--record", "--quiet", "--seed", 9).exit_code == 0
    done = cli("diff", run / "a", run / "b", "--json")
    assert done.exit_code == 1 and json.loads(done.stdout)["parting"]["fields"]

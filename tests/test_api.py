"""The front door for Python, and code of the user's own that raises."""

from __future__ import annotations

import gc
import json
import subprocess
import sys

import metronome
import pytest
import yaml

from .conftest import ROOT

FEW = {"workload.num_requests": 8}


def test_a_result_is_a_value_with_the_bytes_of_its_files(tmp_path, cli):
    result = metronome.run("quickstart", tmp_path / "api", overrides=FEW)
    done = cli("run", "quickstart", "--set", "workload.num_requests=8", "-o", tmp_path / "cli", "--quiet")
    assert done.exit_code == 0, done.output
    for name in ("requests.csv", "timeseries.csv"):
        assert (tmp_path / "api" / name).read_bytes() == (tmp_path / "cli" / name).read_bytes()
    again = metronome.Result.read(tmp_path / "api")
    assert again.requests.rows == result.requests.rows and again.metrics == json.loads(json.dumps(result.metrics))
    assert [row["id"] for row in result.requests] == list(range(8))
    assert all(abs(row["e2el"] - (row["end"] - row["arrival"])) <= 1 for row in result.requests)  # each rounded down
    assert result.status == "complete" and result["completed"] == 8


def test_without_a_folder_nothing_is_written_and_nothing_of_the_process_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = gc.get_freeze_count()
    metronome.run("quickstart", overrides=FEW)
    assert not list(tmp_path.iterdir()) and gc.get_freeze_count() <= before


def test_scenarios_by_name_path_content_and_value_are_the_same(tmp_path):
    content = yaml.safe_load((ROOT / "scenarios/quickstart.yaml").read_text())
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    ways = ["quickstart", tmp_path / "s.yaml", content]
    results = [metronome.run(way, overrides=FEW).requests.rows for way in ways]
    results.append(metronome.run(metronome.load("quickstart", FEW)).requests.rows)
    assert all(rows == results[0] for rows in results)
    assert metronome.run("quickstart", overrides=FEW, seed=7).requests.rows != results[0]
    assert content == yaml.safe_load((ROOT / "scenarios/quickstart.yaml").read_text())


def test_compare_takes_results_and_folders(tmp_path):
    one = metronome.run("quickstart", tmp_path / "one", overrides=FEW)
    other = metronome.run("quickstart", overrides={**FEW, "router.policy": "round-robin"})
    rows, mape = metronome.compare(other, one)
    assert (rows, mape) == metronome.compare(other, tmp_path / "one")
    assert any(row.error for row in rows)
    assert all(not row.error for row in metronome.compare(one, tmp_path / "one")[0])


def test_what_is_named_is_there_and_a_component_process_loads_none_of_it():
    for name in metronome.__all__:
        assert getattr(metronome, name) is not None
    with pytest.raises(AttributeError):
        metronome.nothing  # noqa: B018
    code = "import sys, metronome.hwmodels.interface; sys.exit('metronome.orchestrator' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


MODULE = """
from metronome.hwmodels.network.alpha_beta import AlphaBeta

class Link(AlphaBeta):
    asked = 0

    def estimate(self, template, values):
        Link.asked += 1
        if Link.asked > 3:
            raise RuntimeError("link table is corrupt")
        return super().estimate(template, values)

class Router:
    asked = 0

    def choose(self, request, replicas):
        self.asked += 1
        return replicas[0] if self.asked < 4 else replicas[9]

class Policy:
    def key(self, state):
        if state.request.id == 3:
            raise ValueError("no key for three")
        return state.request.id

class Victims(Policy):
    def victim(self, running):
        return None
"""

FAULTS = {
    "component in process": (
        {"components.nvlink0": {"model": "theirs:Link", "run": "inprocess"}},
        "component nvlink0: RuntimeError: link table is corrupt",
    ),
    "component in a process": (
        {"components.nvlink0": {"model": "theirs:Link", "run": "process"}},
        "component nvlink0: RuntimeError: link table is corrupt",
    ),
    "router": ({"router.policy": "theirs:Router"}, "theirs raised IndexError: list index out of range"),
    "policy": ({"instances.0.engine.scheduling_policy": "theirs:Policy"}, "theirs raised ValueError: no key for three"),
}


@pytest.fixture
def theirs(tmp_path, monkeypatch, request):
    (tmp_path / "theirs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield
    sys.modules.pop("theirs", None)


@pytest.mark.parametrize("case", FAULTS)
def test_code_of_the_users_own_that_raises_is_one_message_and_loses_no_results(case, theirs, small, cli, tmp_path):
    changes, message = FAULTS[case]
    small["instances"] = small["instances"][:1]
    for path, value in changes.items():
        *parents, last = ["components", path[11:]] if path.startswith("components.") else path.split(".")
        spot = small
        for key in parents:
            spot = spot[int(key)] if key.isdigit() else spot.setdefault(key, {})
        spot[last] = value
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
    done = cli("run", tmp_path / "s.yaml", "-o", tmp_path / "out", "--quiet")
    assert done.exit_code == 3, done.output
    assert message in done.output
    assert "Traceback" not in done.output or "last words" in done.output  # a process has printed its own
    own = json.loads((tmp_path / "out/result.json").read_text())["metronome"]
    assert own["status"] == "failed" and message in own["error"]
    with pytest.raises(metronome.MetronomeError, match="raised|RuntimeError") as caught:
        sys.modules.pop("theirs", None)
        metronome.run(tmp_path / "s.yaml")
    assert caught.value.result.status == "failed"


@pytest.mark.parametrize(
    ("field", "value"), [("router.policy", "theirs:Made"), ("instances.0.engine.scheduling_policy", "theirs:Made")]
)
def test_one_that_raises_as_it_is_made_is_one_message_too(field, value, cli, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text("class Made:\n    def __init__(self):\n        raise OSError('no disk')\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = cli("run", "-o", tmp_path / "out", "--quiet", "--set", f"{field}={value}")
    sys.modules.pop("theirs", None)
    assert done.exit_code in (2, 3) and "no disk" in done.output and "Traceback" not in done.output

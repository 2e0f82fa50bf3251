"""A run behind a surrogate: the same bytes cold and warm, wherever the component runs, and recorded."""

from __future__ import annotations

import json

import pytest

BASE = ("run", "systolic-array", "--quiet", "--set", "workload.num_requests=20")


def files(folder):
    result = json.loads((folder / "result.json").read_text())
    own = result["metronome"]["components"]["n0.accelerators"]
    return (folder / "requests.csv").read_bytes(), own["statistics"]["surrogate"] | {"wall_calls": 0}, own["provenance"]


@pytest.fixture
def cold(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("METRONOME_CACHE", str(tmp_path / "cache"))
    done = cli(*BASE, "-o", tmp_path / "cold", "--record")
    assert done.exit_code == 0, done.output
    return tmp_path


def test_cold_and_warm_are_equal(cold, cli):
    assert cli(*BASE, "-o", cold / "warm").exit_code == 0
    assert files(cold / "cold") == files(cold / "warm")
    result = json.loads((cold / "warm" / "result.json").read_text())
    assert result["metronome"]["components"]["n0.accelerators"]["statistics"]["surrogate"]["wall_calls"] == 0


def test_in_a_process_it_is_the_same(cold, cli):
    done = cli(*BASE, "-o", cold / "apart", "--set", "components.n0.accelerators.run=process")
    assert done.exit_code == 0, done.output
    assert files(cold / "cold") == files(cold / "apart")


def test_a_recording_needs_neither_tool_nor_answers(cold, cli, monkeypatch):
    monkeypatch.setenv("METRONOME_CACHE", str(cold / "nothing"))
    done = cli("replay", cold / "cold")
    assert done.exit_code == 0, done.output
    assert not (cold / "nothing").exists()


def test_it_is_close_to_the_component_itself(cold, cli):
    assert cli(*BASE, "-o", cold / "itself", "--set", "components.n0.accelerators.surrogate=null").exit_code == 0
    a, b = (json.loads((cold / name / "result.json").read_text()) for name in ("cold", "itself"))
    for name in ("mean_ttft_ms", "mean_tpot_ms", "p99_e2el_ms"):
        assert a[name] == pytest.approx(b[name], rel=0.01)


def test_the_table_says_what_was_asked(cold, cli, tmp_path):
    done = cli("run", "systolic-array", "--set", "workload.num_requests=3", "-o", tmp_path / "o")
    assert "surrogate: " in done.output and "checked error" in done.output


@pytest.mark.parametrize("given", ["tolerance=2", "budget=0", "tolerance=0", "colour=red"])
def test_a_surrogate_that_cannot_be_is_refused(given, cli):
    done = cli(*BASE, "--set", f"components.n0.accelerators.surrogate.{given}")
    assert done.exit_code == 2
    assert given.split("=")[0] in done.output

"""Sweeps: the same table whatever computes it, nothing computed twice, a bad point is a row."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.sweep import store
from metronome.orchestrator.sweep.points import listed
from metronome.orchestrator.sweep.schema import Span, Sweep, load, of_axes
from metronome.orchestrator.sweep.study import Study
from metronome.orchestrator.sweep.table import tabulate

AXES = {"instances.0.engine.max_num_seqs": [4, 16, 0], "workload.request_rate": {"low": 10, "high": 90, "count": 3}}


@pytest.fixture
def folder(small, tmp_path):
    """A scenario, and a sweep over it of which a third cannot be: max_num_seqs = 0."""
    small["workload"]["num_requests"] = 8
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"scenario": "small.yaml", "axes": AXES}))
    return tmp_path


def study(folder, out="out", **options):
    return Study(load(folder / "sweep.yaml"), folder, folder / out, **options)


def test_any_number_of_workers_gives_the_same_table(folder):
    one, two = study(folder, "one").run(), study(folder, "two", workers=2).run()
    assert one.as_json() == two.as_json() and len(one.rows) == 9
    assert [row["status"] for row in one.rows] == ["complete"] * 6 + ["refused"] * 3
    assert all("max_num_seqs" in row["error"] for row in one.rows[6:])
    assert one.front and not any(row["front"] for row in one.rows[6:])


def test_what_is_there_is_not_computed_again(folder):
    first = study(folder)
    table = first.run()
    again = study(folder)
    assert again.run().as_csv() == table.as_csv()
    assert (first.computed, again.computed, again.kept) == (9, 3, 6)  # refused at once, not worth keeping
    text = (folder / "small.yaml").read_text()
    (folder / "small.yaml").write_text(text.replace("seed: 3", "seed: 4"))
    changed = study(folder)
    changed.run()
    assert changed.kept == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_that_was_stopped_goes_on(folder, workers):
    def stop(done, of):
        if done == 3:
            raise KeyboardInterrupt

    stopped = study(folder, workers=workers, tell=stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert len(stopped.table().rows) == 3
    rest = study(folder)
    table = rest.run()
    assert rest.kept == 3 and rest.computed == 6
    assert table.as_json() == study(folder, "other").run().as_json()


def test_a_worker_that_is_killed_is_replaced(folder):
    killed = []

    def kill(done, of):
        if not killed:
            killed.extend(multiprocessing.active_children())
            for process in killed:
                os.kill(process.pid, signal.SIGKILL)

    table = study(folder, workers=2, tell=kill).run()
    assert killed and table.as_json() == study(folder, "other").run().as_json()


def test_files_and_classes_of_a_scenario_are_part_of_a_point(folder, tmp_path):
    assert store._content(folder / "small.yaml") and store._content(folder)
    assert not store._content(folder / "chat") and store._content(folder / "metronome.orchestrator.api:run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": {"instances.0.engine.max_num_sequences": [1]}}, "max_num_sequences"),
        ({"objectives": {"p99_ttft": "min"}}, "did you mean 'p99_ttft_ms'"),
        ({"objective": {}}, "unknown key 'objective'; did you mean 'objectives'"),
        ({"axes": {"seed": {"low": 0, "high": 4, "count": 2, "spacing": "log"}}}, "spacing log"),
        ({"scenario": "nowhere.yaml"}, "no such file"),
        ({"axes": {}}, "axes"),
    ],
)
def test_bad_sweeps_are_one_message(folder, cli, change, message):
    data = {**yaml.safe_load((folder / "sweep.yaml").read_text()), **change}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(data))
    done = cli("sweep", folder / "sweep.yaml", "-o", folder / "out", "--workers", 1)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output


def test_the_command_writes_table_and_picture(folder, cli):
    done = cli("sweep", folder / "sweep.yaml", "-o", folder / "out", "--workers", 1)
    assert done.exit_code == 0 and "9 points: " in done.output and "3 failed" in done.output
    page = (folder / "out/sweep.html").read_text()
    assert page.count("<circle") == 6 and "http" not in page.replace("http-equiv", "")
    lines = (folder / "out/sweep.csv").read_text().splitlines()
    assert len(lines) == 10 and lines[0].startswith("instances.0.engine.max_num_seqs,workload.request_rate,")
    assert len(json.loads((folder / "out/sweep.json").read_text())["points"]) == 9
    other = cli("sweep", folder / "small.yaml", "--axis", "seed=1,2", "-o", folder / "b", "--json", "--workers", 1)
    assert len(json.loads(other.output)["points"]) == 2


def test_values_along_an_axis():
    assert Span(low=1, high=16, count=5, spacing="log", whole=True).values() == [1, 2, 4, 8, 16]
    assert Span(low=0, high=1, count=3).values() == [0, 0.5, 1]
    grid = of_axes("quickstart", ["a.b=1,2", "c=x,[1,2]"])
    assert listed(grid) == [{"a.b": a, "c": c} for a in (1, 2) for c in ("x", [1, 2])]
    with pytest.raises(InputError, match="must be path"):
        of_axes("quickstart", ["a.b"])


def test_random_points_follow_from_their_seed():
    data = {"scenario": "s", "axes": {"a": {"low": 1, "high": 2, "count": 2}, "b": ["x", "y"]}}
    sweeps = [
        Sweep.model_validate({**data, "search": {"method": "random", "points": 20, "seed": n}}) for n in (1, 1, 2)
    ]
    one, same, other = map(listed, sweeps)
    assert one == same != other and {point["b"] for point in one} == {"x", "y"}
    assert all(1 <= point["a"] <= 2 for point in one)


def test_a_bayesian_search_finds_what_a_grid_finds(folder):
    pytest.importorskip("optuna", reason="needs metronome-cosim[bayesian]")
    data = yaml.safe_load((folder / "sweep.yaml").read_text())
    data |= {"search": {"method": "bayesian", "points": 12}, "objectives": {"output_throughput": "max"}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(data))
    one, two = study(folder, "one").run(), study(folder, "two", workers=2).run()
    assert one.as_json() == two.as_json() and len(one.rows) == 12 and len(one.front) >= 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=12))
def test_the_front_is_what_nothing_beats(points):
    sweep = Sweep.model_validate(
        {"scenario": "s", "axes": {"a": [1]}, "objectives": {"x": "max", "y": "min"}, "constraints": {"z": {"max": 0}}}
    )
    rows = [{"status": "complete", "error": "", "figures": {"x": x, "y": y, "z": int(z)}} for x, y, z in points]
    table = tabulate(sweep, [{"a": 1}] * len(rows), rows)
    allowed = [(x, y) for x, y, z in points if not z]
    for row, (x, y, z) in zip(table.rows, points, strict=True):
        beaten = any(a >= x and b <= y and (a, b) != (x, y) for a, b in allowed)
        assert row["front"] == (not z and not beaten)

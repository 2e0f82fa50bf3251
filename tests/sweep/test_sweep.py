"""Sweeps: the same table whatever computes it, nothing computed twice, a bad point is a row."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.scenario.loading import load as load_scenario
from metronome.orchestrator.sweep import store
from metronome.orchestrator.sweep.points import listed
from metronome.orchestrator.sweep.schema import Span, Sweep, load, of_axes
from metronome.orchestrator.sweep.study import Study
from metronome.orchestrator.sweep.table import tabulate

from ..conftest import interruptible
from ..small import SMALL

AXES = {"instances.0.engine.max_num_seqs": [4, 16, 0], "workload.request_rate": {"low": 10, "high": 90, "count": 3}}


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A scenario, and a sweep over it of which a third cannot be (max_num_seqs = 0), computed by two workers in out."""
    folder = tmp_path_factory.mktemp("sweep")
    scenario = deepcopy(SMALL)
    scenario["workload"]["num_requests"] = 8
    (folder / "small.yaml").write_text(yaml.safe_dump(scenario))
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"scenario": "small.yaml", "axes": AXES}))
    study(folder, workers=2).run()
    return folder


@pytest.fixture
def table(computed):
    """Its table, of which nothing is computed any more."""
    return text(computed, study(computed).run())


@pytest.fixture
def kept(computed, tmp_path):
    """A copy of it in another place, to change."""
    return shutil.copytree(computed, tmp_path / "kept")


@pytest.fixture
def folder(computed, tmp_path):
    """The same without its points."""
    return shutil.copytree(computed, tmp_path / "bare", ignore=shutil.ignore_patterns("out"))


def text(folder, table):
    """All of a table, wherever its scenario lies."""
    return table.as_json().replace(str(folder), "")


def study(folder, out="out", **options):
    return Study(load(folder / "sweep.yaml"), folder, folder / out, **options)


def change(folder, **values):
    """Other values in its sweep."""
    data = yaml.safe_load((folder / "sweep.yaml").read_text()) | values
    (folder / "sweep.yaml").write_text(yaml.safe_dump(data))


def test_any_number_of_workers_gives_the_same_table(folder, table):
    one = study(folder, workers=1).run()
    assert text(folder, one) == table and len(one.rows) == 9
    assert [row["status"] for row in one.rows] == ["complete"] * 6 + ["refused"] * 3
    assert all("max_num_seqs" in row["error"] for row in one.rows[6:])
    assert one.front and not any(row["front"] for row in one.rows[6:])


def test_what_is_there_is_not_computed_again(kept, table):
    again = study(kept)
    assert text(kept, again.run()) == table
    assert (again.computed, again.kept) == (3, 6)  # refused at once, not worth keeping
    assert not multiprocessing.active_children()


def test_a_point_is_another_where_anything_that_decides_it_is(kept):
    def key():
        return store.key(*load_scenario(str(kept / "small.yaml")), kept / "out")

    before = key()
    data = yaml.safe_load((kept / "small.yaml").read_text())
    (kept / "small.yaml").write_text(yaml.safe_dump(data | {"name": "out"}))
    named = key()  # its name is also that of the folder where points are kept: no input of it
    (kept / "out/points/more.json").write_text("")
    assert named == key() != before
    (kept / "small.yaml").write_text(yaml.safe_dump(data | {"seed": 4}))
    assert key() != before
    (kept / "small.yaml").write_text(yaml.safe_dump(data | {"name": "facts"}))
    plain = key()
    (kept / "facts").write_text("a file that is named")
    assert key() != plain
    assert store._content(kept / "metronome.orchestrator.api:run") and not store._content(kept / "chat")


def test_another_price_needs_no_other_run(kept):
    change(kept, prices={"h100-sxm": 7})
    dear = study(kept)
    figures = dear.run().rows[0]["figures"]
    assert (dear.kept, figures["usd_per_hour"], figures["accelerators"]) == (6, 28.0, 4)


def test_a_sweep_that_was_stopped_goes_on(folder, table):
    def stop(done, of):
        if done == 5:
            raise KeyboardInterrupt

    stopped = study(folder, workers=2, tell=stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert len(stopped.table().rows) == 5
    rest = study(folder)
    assert text(folder, rest.run()) == table and (rest.kept, rest.computed) == (5, 4)


def test_a_worker_that_is_killed_is_replaced(folder, table):
    killed = []

    def kill(done, of):
        if done == 4:
            killed.extend(multiprocessing.active_children())
            for process in killed:
                os.kill(process.pid, signal.SIGKILL)

    assert text(folder, study(folder, workers=2, tell=kill).run()) == table and killed


BAD_POLICIES = """
import os, signal, warnings

class Kill:
    def __init__(self):
        os.kill(os.getpid(), signal.SIGKILL)

class Raise:
    def __init__(self):
        raise ZeroDivisionError("no such thing")

class Warn:
    def __init__(self):
        warnings.warn("mind the gap")

    def choose(self, request, replicas):
        return replicas[0]
"""


def test_a_point_that_kills_or_raises_is_its_own_row_and_no_other(folder, monkeypatch, cli):
    """Whoever is computed beside a point that kills its process is not blamed."""
    (folder / "bad_policies.py").write_text(BAD_POLICIES)
    monkeypatch.syspath_prepend(folder)
    policies = ["bad_policies:Kill", "round-robin", "bad_policies:Raise", "bad_policies:Warn"]
    change(folder, axes={"router.policy": policies})
    done = cli("sweep", folder / "sweep.yaml", "-o", folder / "out", "--workers", 2)
    assert done.exit_code == 0 and "warning: mind the gap (in 1 of 4 runs)" in done.output
    rows = json.loads((folder / "out/sweep.json").read_text())["points"]
    assert [row["status"] for row in rows] == ["failed", "complete", "refused", "complete"]
    assert "killed 3 times" in rows[0]["error"] and "ZeroDivisionError: no such thing" in rows[2]["error"]
    assert len(list((folder / "out/points").glob("*.json"))) == 3  # what was killed may do better another time


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_a_sweep_that_is_ended_leaves_no_process_and_what_it_computed(folder, number, code):
    """From outside, half way."""
    change(
        folder, set={"workload.num_requests": 150}, axes={"seed": {"low": 1, "high": 24, "count": 24, "whole": True}}
    )
    options = ["sweep", folder / "sweep.yaml", "-o", folder / "out", "--workers", "2"]
    process = interruptible([sys.executable, "-m", "metronome", *options], stderr=subprocess.PIPE, text=True)
    points, deadline = folder / "out/points", time.monotonic() + 90
    while len(list(points.glob("*.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in said and len(workers) >= 2
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kept = len(list(points.glob("*.json")))
    if number != signal.SIGKILL:
        assert len((folder / "out/sweep.csv").read_text().splitlines()) == kept + 1 and f"{kept} points are in" in said
        return
    rest = study(folder, workers=2)
    assert len(rest.run().rows) == 24 and (rest.kept, rest.computed) == (kept, 24 - kept) and kept < 24


def alive(pid):
    """A zombie that nobody has waited for is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"instances.0.engine.max_num_sequences": [1]}}, "max_num_sequences"),
        ({"objectives": {"p99_ttft": "min"}}, "did you mean 'p99_ttft_ms'"),
        ({"objective": {}}, "unknown key 'objective'; did you mean 'objectives'"),
        ({"axes": {"seed": {"low": 0, "high": 4, "count": 2, "spacing": "log"}}}, "spacing log"),
        ({"scenario": "nowhere.yaml"}, "no such file"),
        ({"axes": {}}, "axes"),
    ],
)
def test_bad_sweeps_are_one_message(kept, cli, changes, message):
    change(kept, **changes)
    done = cli("sweep", kept / "sweep.yaml", "-o", kept / "out", "--workers", 1)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output


def test_the_command_writes_table_and_picture(kept, cli):
    done = cli("sweep", kept / "sweep.yaml", "-o", kept / "out", "--workers", 1)
    assert done.exit_code == 0 and "9 points: " in done.output and "3 failed" in done.output
    page = (kept / "out/sweep.html").read_text()
    assert page.count("<circle") == 6 and "http" not in page.replace("http-equiv", "")
    lines = (kept / "out/sweep.csv").read_text().splitlines()
    assert len(lines) == 10 and lines[0].startswith("instances.0.engine.max_num_seqs,workload.request_rate,")
    assert len(json.loads((kept / "out/sweep.json").read_text())["points"]) == 9
    other = cli("sweep", kept / "small.yaml", "--axis", "seed=1,2", "-o", kept / "b", "--json", "--workers", 1)
    assert len(json.loads(other.stdout)["points"]) == 2


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


def test_a_bayesian_search_is_the_same_whoever_computes_it(folder):
    pytest.importorskip("optuna", reason="needs metronome-cosim[bayesian]")
    change(folder, search={"method": "bayesian", "points": 12}, objectives={"output_throughput": "max"})
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


def test_a_scenario_without_an_axis_is_asked_for_one(tmp_path, cli):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SMALL))
    for scenario in ("quickstart", tmp_path / "s.yaml"):
        done = cli("sweep", scenario, "-o", tmp_path / "out")
        assert done.exit_code == 2 and "is a scenario: give what to vary with --axis" in done.output

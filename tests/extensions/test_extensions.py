"""Somebody else's package, outside this tree: what each extension takes, in files, and that it runs."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

THEIRS = Path(__file__).parent / "theirs"
SMALL = ("workload.num_requests=8", "workload.request_rate=100")
#: extension -> (its files, its registration, what a scenario says to use it)
EXTENSIONS = {
    "policy": (
        ["policy.py"],
        "",
        [*SMALL, "instances.0.engine.scheduling_policy=theirs_policy.policy:LongPromptsFirst"],
    ),
    "router": (["router.py"], "", [*SMALL, "router.policy=theirs_router.router:Last"]),
    "trace": (
        ["trace.py"],
        "[metronome.workloads]\ntheirs-lines = theirs_trace.trace:FORMAT\n",
        ["workload={format: theirs-lines, path: lines.txt}"],
    ),
    "solo": (
        ["solo/__init__.py"],
        "[metronome.engines]\nsolo-1.0 = theirs_solo.solo:KIND\n",
        [*SMALL, "instances.0.engine={version: solo-1.0, max_model_len: 32768, gpu_memory_utilization: 0.95}"],
    ),
}


def install(name: str, site: Path) -> list[Path]:
    """Put one extension there as pip would; returns its own files, registration and markers of packages apart."""
    files, registration, _ = EXTENSIONS[name]
    package = site / f"theirs_{name}"
    for file in files:
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(THEIRS / file, package / file)
    info = site / f"theirs_{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: theirs-{name}\nVersion: 1.0\n")
    if registration:
        (info / "entry_points.txt").write_text(registration)
    return [path for path in package.rglob("*") if path.is_file()]


def metronome(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metronome", *arguments],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def served(site: Path, settings: list[str], folder: str = "out") -> list[dict[str, str]]:
    done = metronome(site, "run", "--quiet", "-o", folder, *(part for each in settings for part in ("--set", each)))
    assert done.returncode == 0, done.stderr
    assert json.loads((site / folder / "result.json").read_text())["metronome"]["status"] == "complete"
    with (site / folder / "requests.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def site(tmp_path):
    (tmp_path / "lines.txt").write_text("0 500 4\n3 20 6\n5 1000 2\n")
    return tmp_path


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_is_one_file_and_runs(name, site):
    files = install(name, site)
    assert len(files) == 1
    rows = served(site, EXTENSIONS[name][2])
    assert len(rows) == (3 if name == "trace" else 8)


def test_each_does_what_it_says(site):
    for name in EXTENSIONS:
        install(name, site)
    by_router = served(site, EXTENSIONS["router"][2], "router")
    assert {row["instance"] for row in by_router} == {"chat-1"}
    by_trace = served(site, EXTENSIONS["trace"][2], "trace")
    assert [(row["input"], row["output"]) for row in by_trace] == [
        ("500", "4"),
        ("20", "6"),
        ("1000", "2"),
    ]
    by_solo = [row for row in served(site, EXTENSIONS["solo"][2], "solo") if row["instance"] == "chat-0"]
    spans = sorted((float(row["scheduled"]), float(row["end"])) for row in by_solo)
    assert len(spans) > 1 and all(one[1] <= two[0] for one, two in pairwise(spans))
    one_place = ["instances.0.engine.max_num_seqs=1", "router.policy=theirs_first:First"]
    (site / "theirs_first.py").write_text(
        "class First:\n    def choose(self, request, replicas):\n        return replicas[0]\n"
    )
    by_policy = served(site, [*SMALL, "workload.request_rate=inf", *EXTENSIONS["policy"][2][2:], *one_place], "policy")
    order = sorted(by_policy, key=lambda row: float(row["scheduled"]))
    prompts = [int(row["input"]) for row in order]
    assert prompts[1:] == sorted(prompts[1:], reverse=True)


def test_an_engine_of_theirs_is_listed_and_its_flags_are_checked(site):
    install("solo", site)
    done = metronome(site, "run", "--set", "instances.0.engine={version: solo-1.0, no_such: 3}")
    assert done.returncode == 2 and "no_such" in done.stderr and "Traceback" not in done.stderr
    done = metronome(site, "run", "--set", "instances.0.engine.version=solo-1.1")
    assert done.returncode == 2 and "solo-1.0" in done.stderr

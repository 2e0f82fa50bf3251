"""Every recorded run of every version is replayed event for event, and its requests come out as they did."""

from __future__ import annotations

import csv

import pytest

from . import __main__ as recorder

RECORDED = sorted(path.parent for path in recorder.FOLDER.glob("*/*/journal"))
MOST_BYTES = 300_000  # of one version


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_recorded_run_is_replayed(folder, cli, tmp_path):
    done = cli("replay", folder, "-o", tmp_path, "--quiet")
    assert done.exit_code == 0, done.output
    with (folder / "requests.csv").open() as before, (tmp_path / "requests.csv").open() as after:
        then, now = list(csv.DictReader(before)), list(csv.DictReader(after))
    assert [{name: row[name] for name in then[0]} for row in now] == then  # columns may have been added since


def test_the_next_release_has_its_recordings():
    assert {folder.name for folder in RECORDED if folder.parent.name == "unreleased"} == set(recorder.RUNS)


def test_they_are_small():
    for version in {folder.parent for folder in RECORDED}:
        assert sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) < MOST_BYTES

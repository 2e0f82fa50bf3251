"""A new adapter keeps the contract before its first edit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

from ..conftest import ROOT

HARDWARE = {"accelerator": "n0.accelerators", "memory": "n0.dram", "network": "nvlink0"}


@pytest.mark.parametrize("kind", ["accelerator", "pim", "memory", "network"])
def test_it_passes_its_own_tests_and_runs_in_a_scenario(kind, cli, tmp_path, small, monkeypatch):
    folder = tmp_path / "my-device"
    done = cli("new-adapter", "my-device", "--kind", kind, "-o", folder)
    assert done.exit_code == 0, done.output
    model = (folder / "my_device" / "__init__.py").read_text()
    assert len(model.splitlines()) < 60
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
        env=env,
        capture_output=True,
        text=True,
    )
    assert tests.returncode == 0 and "15 passed" in tests.stdout, tests.stdout
    checked = subprocess.run(
        [sys.executable, "-m", "metronome", "conformance", "my_device:MyDevice", "--config", folder / "config.yaml"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0 and "42 of 42" in checked.stdout, checked.stdout + checked.stderr
    if kind in HARDWARE:
        small["components"] = {HARDWARE[kind]: {"model": "my_device:MyDevice", "ns_per_unit": 3}}
        (tmp_path / "s.yaml").write_text(yaml.safe_dump(small))
        run = subprocess.run(
            [sys.executable, "-m", "metronome", "run", tmp_path / "s.yaml", "-o", tmp_path / "out"],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0 and "my_device:MyDevice" in run.stdout, run.stderr


def test_nothing_is_overwritten_and_names_are_checked(cli, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("mine")
    taken = cli("new-adapter", "my-device", "--kind", "pim", "-o", tmp_path / "a")
    assert taken.exit_code == 2 and "nothing is overwritten" in taken.output
    for name in ("My-Device", "1st", "a b", "../x"):
        done = cli("new-adapter", name, "--kind", "pim", "-o", tmp_path / "b")
        assert done.exit_code == 2 and "small letters" in done.output

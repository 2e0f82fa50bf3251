"""The wheel is whole: installed alone, it runs the quick start from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile

import pytest

from .conftest import ROOT

QUICK_S = 10


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-m", "build", "--wheel", "-o", folder, source], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_it_carries_scenarios_catalog_stubs_and_engines(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "metronome/scenarios/quickstart.yaml",
        "metronome/hwmodels/catalog/devices/h100-sxm.yaml",
        "metronome/hwmodels/catalog/models/Qwen/Qwen3-32B.json",
        "metronome/component/v1/component_pb2.py",
        "metronome/component/v1/component.proto",
        "metronome/orchestrator/serving/host_costs/vllm-0.19.yaml",
    ):
        assert part in names
    assert not [name for name in names if name.startswith("tests")]


def test_it_carries_every_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("orchestrator", "hwmodels", "adapters"):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"metronome/{path.relative_to(ROOT)}" in names


def test_installed_alone_it_runs_both_quick_starts(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, capture_output=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    for scenario in ([], ["quickstart-processes"]):
        command = [tmp_path / "env/bin/metronome", "run", *scenario]
        done = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=6 * QUICK_S)
        assert done.returncode == 0, done.stderr
        assert "TTFT" in done.stdout
    one, two = ((empty / "out" / name / "requests.csv").read_bytes() for name in ("quickstart", "quickstart-processes"))
    assert one == two

"""The wheel is whole, keeps to its own name, and runs beside others' packages of the names it once had."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from .conftest import ROOT

QUICK_S = 10
#: Runs every bundled scenario, a few requests each; prints how each ended.
EVERY_SCENARIO = """
import json, metronome
from metronome.orchestrator.scenario.loading import bundled
ended = {name: metronome.run(name, overrides={"workload.limit": 4}).status for name in bundled()}
print(json.dumps(ended))
"""


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


def foreign(name: str, version: str, folder: Path) -> Path:
    """A wheel of somebody else's: one package, which says whose it is."""
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"OWNER = 'somebody else: {name}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(file, text)
    return path


def pip(env: Path, *arguments: object) -> None:
    subprocess.run([env / "bin/python", "-m", "pip", "install", "--quiet", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def env(wheel, tmp_path_factory):
    """A clean environment with others' `adapters` and `orchestrator` there first, and installed again later.

    Made once, whoever of the test processes comes first.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    folder = shared / "packaged"
    with (shared / "packaged.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            venv.create(folder, with_pip=True)
            pip(folder, *(foreign(name, "1.3.0", shared) for name in ("adapters", "orchestrator")))
            pip(folder, wheel)
            pip(folder, *(foreign(name, "2.0", shared) for name in ("adapters", "orchestrator", "hwmodels")))
    return folder


def run(env: Path, *command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [env / "bin" / str(command[0]), *map(str, command[1:])],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=12 * QUICK_S,
    )


def site(env: Path) -> Path:
    return next(env.glob("lib/python*/site-packages"))


def test_it_carries_scenarios_catalog_stubs_and_engines(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "metronome/py.typed",
        "metronome/scenarios/quickstart.yaml",
        "metronome/scenarios/scenario.schema.json",  # which their first lines name
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
            if "examples" in path.parts:  # to be copied from the repository
                continue
            assert f"metronome/{path.relative_to(ROOT)}" in names


def test_installed_it_is_one_top_level_package(env):
    (info,) = site(env).glob("metronome_cosim-*.dist-info")
    lines = (info / "RECORD").read_text().splitlines()
    tops = {line.split(",")[0].split("/")[0] for line in lines}
    assert tops == {"metronome", info.name, ".."}
    assert {line.split(",")[0] for line in lines if line.startswith("..")} == {"../../../bin/metronome"}


def test_it_runs_both_quick_starts_from_an_empty_folder(env, tmp_path):
    for scenario in ([], ["quickstart-processes"]):
        done = run(env, "metronome", "run", *scenario, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "TTFT" in done.stdout
    one, two = (
        (tmp_path / "out" / name / "requests.csv").read_bytes() for name in ("quickstart", "quickstart-processes")
    )
    assert one == two


def test_every_bundled_scenario_runs_beside_others_packages(env, tmp_path):
    done = run(env, "python", "-c", EVERY_SCENARIO, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert len(ended) >= 16 and set(ended.values()) == {"complete"}
    whose = "import adapters, orchestrator, hwmodels; print(adapters.OWNER, orchestrator.OWNER, hwmodels.OWNER)"
    assert run(env, "python", "-c", whose, cwd=tmp_path).stdout.count("somebody else") == 3


def test_a_package_of_our_name_over_ours_is_one_line(env, wheel, tmp_path):
    """Another distribution `metronome` that has a package writes its ``__init__`` over ours."""
    broken = tmp_path / "env"
    shutil.copytree(env, broken, symlinks=True)
    pip(broken, "--no-deps", foreign("metronome", "0.0.17", tmp_path))
    python = broken / "bin/python"
    script = broken / "bin/metronome"
    script.write_text(f"#!{python}\n" + script.read_text().split("\n", 1)[1])
    for command in (["metronome", "run"], ["python", "-m", "metronome", "run"]):
        done = run(broken, *command, cwd=tmp_path)
        assert done.returncode in (1, 2) and done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert str(site(broken) / "metronome/__init__.py") in line and "pip uninstall metronome" in line
    done = run(broken, "python", "-c", "import metronome.orchestrator.errors", cwd=tmp_path)
    assert "ImportError" in done.stderr and "pip uninstall metronome" in done.stderr
    # What the message says to do mends it.
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "metronome"], check=True, capture_output=True)
    assert "removed it" in run(broken, "metronome", "run", cwd=tmp_path).stderr
    pip(broken, "--force-reinstall", "--no-deps", wheel)
    assert run(broken, "metronome", "validate", cwd=tmp_path).returncode == 0


def test_the_version_is_that_of_the_changelog():
    """The newest release that CHANGELOG.md names is this one, or is still to come."""
    released = [
        line.split()[1].strip("[]") for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if "## [" in line
    ]
    assert released[0] == "Unreleased" and distribution("metronome-cosim").version == released[1]

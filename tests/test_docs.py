"""Commands in the README and the docs run, and files they name exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from .conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLAYED = ROOT / "docs/tutorial.md"  # its lines follow from one another: test_tutorial.py
BLOCKS = re.compile(r"```console\n(.*?)```", re.S)


def commands():
    """`$ metronome ...` lines of console blocks; paths of other projects cannot be run."""
    for page in PAGES:
        if page == PLAYED:
            continue
        for block in BLOCKS.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("$ metronome") and "path/to" not in line:
                    yield pytest.param(shlex.split(line[2:], comments=True)[1:], id=f"{page.name}: {line[2:60]}")


@pytest.mark.parametrize("arguments", list(commands()))
def test_a_command_of_the_docs_runs(arguments, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "out/quickstart" in arguments:
        assert cli("run", "-o", "out/quickstart", "--quiet").exit_code == 0
    for other in {"out/a", "out/b"} & set(arguments) if arguments[0] in ("compare", "report") else ():
        assert cli("run", "-o", other, "--quiet", "--set", "router.policy=round-robin").exit_code == 0
    if "out/a" in arguments and arguments[0] in ("replay", "diff"):
        assert cli("run", "-o", "out/a", "--record", "--quiet").exit_code == 0
    if any("out/server" in argument for argument in arguments) and arguments[0] != "run":
        assert cli(*SERVER).exit_code == 0
        assert cli("report", "--format", "aiperf", "out/server").exit_code == 0
    done = cli(*arguments)
    assert done.exit_code == 0, done.output


#: docs/calibrate.md: a run that plays the real server
SERVER = ["run", "tensor-parallel", "-o", "out/server", "--set", "workload.num_requests=100"]
SERVER += ["--set", "calibration.factors.gemm=1.25"]

PYTHON = re.compile(r"```python\n(.*?)```", re.S)


def programs():
    """Whole programs of the pages for Python: those that import the front door."""
    for page in PAGES:
        for number, code in enumerate(PYTHON.findall(page.read_text())):
            if "import metronome\n" in code:
                yield pytest.param(page, code, id=f"{page.name}-{number}")


@pytest.mark.parametrize(("page", "code"), list(programs()))
def test_a_program_of_the_docs_runs_and_prints_the_rows_of_its_page(page, code, tmp_path):
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout, done.stderr
    for line in done.stdout.splitlines():
        assert not line.startswith("|") or f"\n{line}\n" in page.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target

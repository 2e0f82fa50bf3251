"""Who may import whom (docs/architecture.md), and what must appear nowhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from .conftest import ROOT

#: folder -> what of the project it may import; longest match decides.
ALLOWED = {
    "hwmodels": ("hwmodels",),
    "adapters": ("adapters", "hwmodels", "component"),
    "proto": ("hwmodels.interface", "component"),
    "proto/metronome": ("component", "hwmodels.interface", "orchestrator"),
    "orchestrator": ("orchestrator", "hwmodels.interface", "hwmodels.catalog", "component"),
    "orchestrator/kernel": ("orchestrator.kernel", "orchestrator.errors"),
    "orchestrator/workload": (
        "orchestrator.workload",
        "orchestrator.errors",
        "orchestrator.scenario.base",
        "orchestrator.plugins",
    ),
    "orchestrator/serving": (
        "orchestrator.serving",
        "orchestrator.workload",
        "orchestrator.kernel",
        "orchestrator.errors",
        "orchestrator.scenario.base",
        "orchestrator.plugins",
    ),
    "orchestrator/lowering": (
        "orchestrator.lowering",
        "orchestrator.serving.batch",
        "orchestrator.errors",
        "hwmodels.interface",
        "hwmodels.catalog",
    ),
    "orchestrator/cli": ("orchestrator", "adapters", "hwmodels.interface", "hwmodels.catalog", "component"),
}
SOURCES = [
    path
    for folder in ("hwmodels", "adapters", "proto", "orchestrator")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "_pb2" not in path.name
]


def imports(path):
    """Names of the project's modules that a file imports, without the `metronome.` they all share."""
    package = installed(path.parent)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("metronome.") for name in names if name.startswith("metronome."))


def installed(folder):
    """The package that a folder of the repository is when installed."""
    parts = folder.relative_to(ROOT).parts
    return parts[1:] if parts[0] == "proto" else ("metronome", *parts)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_stay_within_their_room(path):
    name = str(path.relative_to(ROOT))
    room = max((folder for folder in ALLOWED if name.startswith(folder + "/")), key=len)
    for module in imports(path):
        ours = tuple(f"{allowed}." for allowed in ALLOWED[room])
        assert f"{module}.".startswith(ours), f"{name} imports {module}"


def test_a_local_run_never_loads_grpc():
    code = (
        "import sys; from metronome.orchestrator.cli.main import cli\n"
        "cli(['run', '--quiet', '-o', sys.argv[1], '--set', 'workload.num_requests=3'], standalone_mode=False)\n"
        "sys.exit(any(name.split('.')[0] in ('grpc', 'docker', 'google') for name in sys.modules))"
    )
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        assert subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT).returncode == 0


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name.decode() for name in done.stdout.split(b"\0") if name]


def test_nothing_names_a_development_machine_and_nothing_evaluates_text():
    forbidden = re.compile(r"/(root|home|work)/|\bpickle\b|\beval\(|shell=True|yaml\.load\((?!.*Loader)")
    for path in tracked():
        if (
            path.suffix in (".py", ".md", ".yaml", ".toml", ".proto")
            and path.name != "test_boundaries.py"
            and path.exists()
        ):
            found = forbidden.search(path.read_text())
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_readable(path):
    """A file is one idea and is read in one sitting."""
    assert len(path.read_text().splitlines()) <= 400
    assert ast.get_docstring(ast.parse(path.read_text())) or path.name == "__main__.py"

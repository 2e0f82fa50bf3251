"""Who may import whom (tests/rooms.py), and what must appear nowhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from collections import defaultdict

import pytest

from .conftest import ROOT
from .imports import Source, circle, imports, outsiders, room, sources
from .rooms import OUTSIDERS, RULES, rule_of, short, violations

SOURCES = sources(ROOT)
LONGEST = 400


def test_every_room_has_a_rule_and_every_rule_a_room():
    """A package of the folders, and each module that lies in `orchestrator` itself."""
    assert {rule_of(module, SOURCES) for module in SOURCES} == set(RULES)


def test_imports_stay_within_the_rules():
    assert list(violations(SOURCES)) == []


def test_rules_name_what_there_is():
    named = {name for allowed in RULES.values() for name in allowed}
    assert named <= {short(module) for module in SOURCES}


@pytest.mark.parametrize(
    ("module", "text", "found"),
    [
        ("coupling.planted", "from ..serving.vllm.scheduler import Scheduler", "serving.vllm.scheduler"),
        ("coupling.planted", "from ..serving import interface", "serving.interface"),
        ("record.planted", "def late():\n    from ..debug.state import tree", "debug.state"),
        ("deployment.planted", "from metronome.orchestrator.serving import engines", "serving.engines"),
        ("kernel.planted", "import metronome.orchestrator.coupling.link", "coupling.link"),
        ("serving.planted", "from .vllm import KIND", "serving.vllm"),
        ("simulation", "from .serving.vllm.engine import VllmEngine", "serving.vllm.engine"),
        ("report.planted", "if TYPE_CHECKING:\n    from ..serving.loop import StepLoop", "serving.loop"),
        ("instruments.planted", "from ..simulation import Simulation", "simulation"),
        ("serving.vllm.planted", "from ..dispatcher import Dispatcher", "serving.dispatcher"),
        ("lowering.planted", "from ..coupling.port import Item", "coupling.port"),
        ("newcomer", "from .kernel import loop", "kernel.loop"),
        ("newroom.planted", "from ..kernel import loop", "kernel.loop"),
    ],
)
def test_a_planted_import_is_found(module, text, found):
    planted = dict(SOURCES)
    if module.startswith("newroom"):
        planted["metronome.orchestrator.newroom"] = Source("", package=True)
    planted[f"metronome.orchestrator.{module}"] = Source(text)
    assert f"orchestrator.{module} imports orchestrator.{found}" in list(violations(planted))


def test_hardware_and_adapters_do_not_know_the_orchestrator():
    planted = SOURCES | {
        "metronome.hwmodels.memory.planted": Source("from metronome.orchestrator import errors"),
        "metronome.adapters.ns3.planted": Source("from metronome.orchestrator.kernel import loop"),
    }
    assert list(violations(planted)) == [
        "hwmodels.memory.planted imports orchestrator.errors",
        "adapters.ns3.planted imports orchestrator.kernel.loop",
    ]


def outer(module):
    """hwmodels, adapters, component, and what lies directly in `orchestrator`."""
    parts = short(module).split(".")
    if parts == ["__main__"]:
        return "metronome"
    return ".".join(parts[:2] if parts[0] == "orchestrator" else parts[:1])


def outer_rooms(all_sources):
    graph = defaultdict(set)
    for module in all_sources:
        graph[outer(module)] |= {outer(other) for other in imports(module, all_sources)} - {outer(module)}
    del graph["metronome"]  # `python -m metronome`, and who owns the package: below and above everything
    return graph


def starting(all_sources):
    return {module: imports(module, all_sources, starting=True) for module in all_sources}


def test_no_circle_of_rooms_or_of_modules():
    assert circle(outer_rooms(SOURCES)) == []
    assert circle(starting(SOURCES)) == []


def test_a_planted_circle_is_found():
    back = "metronome.orchestrator.serving.planted"
    rooms = outer_rooms(SOURCES | {back: Source("def late():\n    from ..scenario import schema")})
    assert set(circle(rooms)) >= {"orchestrator.serving", "orchestrator.scenario"}
    modules = {"a": {"b"}, "b": {"c"}, "c": {"b"}}
    assert circle(modules) == ["b", "c", "b"]
    late = {back: Source("def late():\n    from . import planted_too"), f"{back}_too": Source("from . import planted")}
    assert circle(starting(SOURCES | late)) == []
    early = late | {back: Source("class C:\n    from . import planted_too")}
    assert circle(starting(SOURCES | early)) == [back, f"{back}_too", back]


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def levels():
    """Name -> line, of the picture of the house: names before the first wide gap, parted by bars."""
    picture = re.search(r"```text\n(.*?)```", ARCHITECTURE, re.S)[1]
    lines = [re.split(r"\s{2,}", line.strip())[0] for line in picture.splitlines() if "---" not in line]
    return {name: number for number, line in enumerate(lines) for name in line.split(" | ")}


def test_the_picture_of_the_house_is_the_house():
    """Every outer room is in it once, and imports only what lies below."""
    below, graph = levels(), outer_rooms(SOURCES)
    named = {full.removeprefix("orchestrator."): full for full in graph if full != "orchestrator"}
    assert set(below) == set(named)
    for name, full in named.items():
        for other in graph[full] - {"orchestrator", "metronome"}:
            assert below[other.removeprefix("orchestrator.")] > below[name], f"{full} imports {other}"


def test_the_table_of_rooms_has_a_row_for_each():
    rows = " ".join(line.split("|")[1] for line in ARCHITECTURE.splitlines() if line.startswith("| `"))
    assert set(RULES) - {"orchestrator"} == set(re.findall(r"`([a-z_0-9.]+)`", rows))


@pytest.mark.parametrize("library", OUTSIDERS)
def test_few_rooms_know_a_library(library):
    users = {short(room(module, SOURCES)) for module, source in SOURCES.items() if library in outsiders(source.text)}
    assert users <= set(OUTSIDERS[library])


#: Calls that make something happen in a run. Whoever looks on makes none of them.
ACTS = {
    *("at", "push", "submit", "abort", "stop", "restart", "wake", "schedule", "settle", "configure", "choose"),
    *("prompt_computed", "request_ended", "arrived", "layer_hook", "finished_sending", "finished_recving"),
}


def acts(text):
    calls = (node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    return {call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in ACTS}


@pytest.mark.parametrize("watcher", ["instruments", "report", "record"])
def test_who_looks_on_passes_nothing_on(watcher):
    for module, source in SOURCES.items():
        if f"{module}.".startswith(f"metronome.orchestrator.{watcher}."):
            assert not acts(source.text), module
    assert acts("class R:\n    def request_ended(self, s):\n        self.dispatcher.request_ended(s)")


def test_a_local_run_never_loads_grpc():
    code = (
        "import sys; from metronome.orchestrator.cli.main import cli\n"
        "cli(['run', '--quiet', '-o', sys.argv[1], '--set', 'workload.num_requests=3'], standalone_mode=False)\n"
        "sys.exit(any(name.split('.')[0] in ('grpc', 'docker', 'google') for name in sys.modules))"
    )
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


@pytest.mark.parametrize("module", SOURCES)
def test_files_stay_readable(module):
    """A file is one idea, says which, and is read in one sitting."""
    text = SOURCES[module].text
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)) or module.endswith("__main__")


#: Still with units of their own.
TO_MOVE = {"report.results", "workload.llmservingsim", "workload.synthetic"}


def test_units_are_written_once():
    """In `orchestrator/units.py`; `hwmodels` and `adapters` may import nothing of it."""
    own = {
        module.removeprefix("metronome.orchestrator.")
        for module, source in SOURCES.items()
        if module.startswith("metronome.orchestrator.")
        and re.search(r"^(PS_PER_\w+|MAX_PS|PJ_PER_J|GIB) *=", source.text, re.M)
    }
    assert own - {"units"} <= TO_MOVE

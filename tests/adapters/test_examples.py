"""An example of a configuration for each tool, which its adapter takes; and the tool in C that is asked by lines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from metronome.adapters.command import Accelerator
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.tools.lines import LineTool
from metronome.orchestrator.coupling import registry

from ..conftest import ROOT, missing, need_tool
from .standins import dramsim3_library

EXAMPLES = ROOT / "adapters" / "examples"
ADAPTERS = {
    entry: model
    for entry in registry.names()
    if (model := registry.find(entry)).__module__.startswith("metronome.adapters.") and entry != "island"  # needs two
}
CASES = {**ADAPTERS, "command": Accelerator}


def test_there_is_one_for_each_adapter():
    assert {path.stem for path in (EXAMPLES / "components").glob("*.yaml")} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_its_adapter_takes_it(name, tmp_path, monkeypatch):
    """With stand-ins where it names a program or a file of the user's."""
    config = yaml.safe_load((EXAMPLES / "components" / f"{name}.yaml").read_text())
    (tmp_path / "bin").mkdir()
    for named in (config.get("program"), *(config.get(field, [None])[0] for field in ("command", "generator"))):
        if named and not shutil.which(named):
            (tmp_path / "bin" / named).write_text("#!/bin/sh\n")
            (tmp_path / "bin" / named).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{__import__('os').environ['PATH']}")
    if isinstance(config.get("config"), str):
        (tmp_path / config["config"]).write_text("topology = mesh;\n  path: x\n")
        config["config"] = str(tmp_path / config["config"])
    if "library" in config:  # loaded as soon as it is named
        need_tool(name)
        config["library"] = str(dramsim3_library(tmp_path))
        Path(config["config"]).write_text("[dram_structure]\nprotocol = HBM\n")
    for field, of in (("python", sys.executable), ("program", "/bin/sh")):
        if "library" not in config and field in CASES[name].config_schema()["properties"]:
            config.setdefault(field, of)
    CASES[name](config)


def test_the_tool_in_c_is_asked_by_lines(tmp_path):
    if not shutil.which("cc"):
        missing("a C compiler")
    program = tmp_path / "tool"
    subprocess.run(["cc", "-Wall", "-Werror", "-o", program, EXAMPLES / "tools/line_tool.c"], check=True)
    tool = LineTool([str(program)], 20)
    assert tool.number("32 64 100", "a GEMM") == 2 * 4 * (100 + 30)
    with pytest.raises(ToolFailure, match="a GEMM: .*says: not three numbers: 5 5"):
        tool.number("5 5", "a GEMM")
    assert tool.number("1 1 1", "a GEMM") == 31


def test_a_tool_that_answers_otherwise_is_told_how(tmp_path):
    tool = LineTool([sys.executable, "-uc", "input(); print('{\"cycles\": 5}'); input()"], 1)
    with pytest.raises(
        ToolFailure, match=r"(?s)did not answer within 1 s: an answer is a line that begins with '= '.*cycles"
    ):
        tool.number("1 1 1", "a GEMM")

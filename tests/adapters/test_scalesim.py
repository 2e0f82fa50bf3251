"""SCALE-Sim itself: the oracle of the closed form, and what becomes of a tool that fails."""

from __future__ import annotations

import random

import pytest
from metronome.adapters.scalesim import ScaleSim
from metronome.adapters.tools.failure import ToolFailure
from metronome.hwmodels.accelerator.systolic import Gemm, Systolic
from metronome.hwmodels.interface import ConfigError

from ..conftest import need_tool
from .contract import keeps_the_contract


@pytest.fixture(scope="module", autouse=True)
def _tool():
    need_tool("scalesim")


def ask_tool(tool, size, dataflow, gemm):
    return tool.number(f"{size} {size} {dataflow} {gemm.m} {gemm.n} {gemm.k}", "a whole GEMM")


@pytest.fixture(scope="module")
def tool():
    model = ScaleSim()
    return model._tool


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("size", [32, 128])
def test_closed_form_and_sum_of_tiles_equal_the_tool(tool, size, dataflow):
    """On shapes up to 512, multiples of the array or not."""
    draw = random.Random(f"{size}{dataflow}")
    config = {"rows": size, "columns": size, "dataflow": dataflow}
    for _ in range(3):
        most = 512 if size == 128 else 200  # the tool's time is its folds
        gemm = Gemm(*(draw.randint(1, most) for _ in range(3)))
        whole = ask_tool(tool, size, dataflow, gemm)
        assert Systolic(config).cycles(gemm) == whole
        assert ScaleSim(config).cycles(gemm) == whole


def test_it_keeps_the_contract(tmp_path):
    keeps_the_contract(ScaleSim, {"rows": 32, "columns": 32}, tmp_path)


def test_a_missing_file_is_a_message_not_an_exit(tool):
    with pytest.raises(ToolFailure, match="a whole GEMM.*says: (ValueError|AssertionError)"):
        tool.ask("128 128 ws 1 1", "a whole GEMM")
    assert ask_tool(tool, 32, "ws", Gemm(4, 32, 32)) > 0  # and it goes on


def test_memory_beyond_the_limit_is_a_message():
    model = ScaleSim({"memory_gib": 0.4, "rows": 128, "columns": 128})
    with pytest.raises(ToolFailure, match=r"scalesim, a tile of 400000 x 128 x 128"):
        model.cycles(Gemm(400000, 128, 128))


def test_without_the_tool_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("METRONOME_TOOLS", str(tmp_path))
    with pytest.raises(ConfigError, match="metronome tools install scalesim"):
        ScaleSim()


def test_the_tool_is_asked_once_a_tile():
    model = ScaleSim({"rows": 32, "columns": 32})
    model.cycles(Gemm(4, 320, 320))
    model.cycles(Gemm(4, 3200, 64))
    assert model.statistics() == {"tiles_asked": 1}

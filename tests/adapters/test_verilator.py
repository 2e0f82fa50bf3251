"""RTL behind the contract: the array's own cycles, cached by length and multiplied by folds."""

from __future__ import annotations

import sys

import pytest
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.verilator import RtlArray
from metronome.hwmodels.accelerator.systolic import Gemm, Systolic
from metronome.hwmodels.interface import ConfigError

from ..conftest import need_tool
from .contract import keeps_the_contract


@pytest.fixture
def tool():
    need_tool("verilator")


@pytest.mark.parametrize("k", [1, 2, 7, 8, 9, 64, 1000, 4096])
def test_a_tile_takes_its_length_and_the_way_across(tool, k):
    """The harness has compared its sums with plain arithmetic, or it would have said so."""
    assert RtlArray().tile_cycles(Gemm(8, 8, k)) == k + 8 + 8 - 2


def test_against_the_closed_form_only_the_overlap_of_folds_differs(tool):
    """SCALE-Sim lets a fold begin in the last cycle of the one before; this array starts each anew."""
    closed = Systolic({"rows": 8, "columns": 8, "dataflow": "os"})
    for gemm in (Gemm(8, 8, 100), Gemm(64, 48, 300), Gemm(5, 9, 17)):
        folds = closed.tile(gemm).folds
        assert RtlArray().cycles(gemm) == closed.cycles(gemm) + 1
        assert RtlArray().cycles(gemm) == folds * (gemm.k + 14)


def test_each_length_is_simulated_once(tool):
    model = RtlArray()
    for m in range(8, 800, 8):
        model.cycles(Gemm(m, 512, 256))
    assert model.statistics() == {"tiles_simulated": 1}


def test_it_keeps_the_contract(tool, tmp_path):
    keeps_the_contract(RtlArray, {}, tmp_path)


def test_in_a_scenario(tool, cli, tmp_path):
    done = cli(
        "run",
        "systolic-array",
        "--quiet",
        "-o",
        tmp_path,
        "--set",
        "workload.num_requests=3",
        "--set",
        "components.n0.accelerators={model: verilator, clock_mhz: 1000, surrogate: {tolerance: 0.01}}",
    )
    assert done.exit_code == 0, done.output


def test_another_size_was_not_built(tool):
    with pytest.raises(ConfigError, match="rows"):
        RtlArray({"rows": 16})


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('! cell 3 holds 7 instead of 9', flush=True); input()", "says: cell 3 holds 7 instead of 9"),
        ("print('= 0', flush=True); input()", "'0', which is no positive whole number"),
        ("print('X on the bus')", "(?s)exited with code 0.*X on the bus"),
    ],
)
def test_an_array_that_computes_nonsense_is_refused(code, why, tmp_path):
    fake = tmp_path / "array"
    fake.write_text(f"#!{sys.executable}\n{code}\n")
    fake.chmod(0o755)
    with pytest.raises(ToolFailure, match=why):
        RtlArray({"program": str(fake)}).tile_cycles(Gemm(8, 8, 64))

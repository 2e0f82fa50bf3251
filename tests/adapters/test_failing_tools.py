"""Tools that run for a session: killed, hanging, talking nonsense, whichever adapter drives them."""

from __future__ import annotations

import gc
import sys
import tempfile

import pytest
from metronome.adapters.aiconfigurator import AiConfigurator
from metronome.adapters.ns3 import Ns3
from metronome.adapters.scalesim import ScaleSim
from metronome.adapters.systemc import SystemC
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.verilator import RtlArray
from metronome.hwmodels.interface import MAX_PS, Operation, Template

GEMM = Template(0, "gemm", "qkv_proj", {"n": 64, "k": 64, "dtype": "bf16"})
SEND = Template(0, "send", "x", {"participants": 2, "ranks": "n0.0,n0.1"})


def scalesim(program):
    ScaleSim({"python": program, "timeout_s": 2}).estimate(GEMM, (16,))


def aiconfigurator(program):
    AiConfigurator({"device": "h100-sxm", "python": program, "timeout_s": 2}).estimate(GEMM, (16,))


def verilator(program):
    RtlArray({"program": program, "timeout_s": 2}).estimate(GEMM, (16,))


def systemc(program):
    model = SystemC({"program": program, "timeout_s": 2})
    model.declare([Template(0, "read", "x", {})])


def ns3(program):
    flat = {"groups": [{"name": "n0", "count": 2}], "bandwidth_gb_s": 12.5, "latency_ns": 1000}
    model = Ns3({**flat, "program": program, "timeout_s": 2})
    model.declare([SEND])
    model.advance(MAX_PS, [Operation(0, (1000,))], True)


@pytest.mark.parametrize("ask", [scalesim, aiconfigurator, systemc, verilator, ns3])
@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; print('out of sand', flush=True); os.kill(os.getpid(), 9)", "was killed by SIGKILL.*out of sand"),
        ("import time; print('out of sand', flush=True); time.sleep(60)", "did not answer within 2 s.*out of sand"),
        ("print('out of sand')", "exited with code 0.*out of sand"),
        ("print('= \\x00\\xff soup'); input()", "soup"),
        ("print('= 0'); input()", "'0"),
    ],
    ids=["killed", "hanging", "gone", "garbage", "zero"],
)
def test_the_adapter_says_who_what_and_why(ask, code, why, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    fake = tmp_path / "tool"
    fake.write_text(f"#!{sys.executable}\n{code}\n")
    fake.chmod(0o755)
    with pytest.raises(ToolFailure, match=rf"(?s)^{ask.__name__}.*{why}"):
        ask(str(fake))
    gc.collect()
    if code.endswith("input()"):  # one that talks is still alive, and kept for the next question
        return
    assert not list((tmp_path / "scratch").iterdir())

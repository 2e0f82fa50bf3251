"""Command-line tools by configuration: their answers are read strictly, and what they do wrong is said."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import pytest
from metronome.adapters.command import Accelerator, Memory
from metronome.adapters.conformance import CHECKS
from metronome.adapters.conformance.sessions import local
from metronome.adapters.tools.failure import ToolFailure
from metronome.hwmodels.interface import MAX_PS, ConfigError, Operation, Template, UnsupportedOperation
from metronome.orchestrator.errors import ComponentFailure
from metronome.orchestrator.scenario.loading import validate
from metronome.orchestrator.simulation import Simulation
from metronome.orchestrator.source import LiveSource

ECHO = {
    "command": ["/bin/sh", "-c", 'echo "took $(( $1 + 1 )) ns"', "tool", "{bytes}"],
    "value": "took (?P<value>[0-9]+) ns",
}
READ = Template(0, "read", "r", {})
GEMM = Template(0, "gemm", "qkv", {"n": 512, "k": 256, "dtype": "bf16"})


@pytest.fixture
def own_scratch(tmp_path, monkeypatch):
    """Tests that run beside this one have scratch folders, too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def took(model, template, values, **config):
    made = model(config)
    made.declare([template])
    (done,) = made.advance(MAX_PS, [Operation(0, values, 0)]).completions
    return done.finish_ps


def scratch():
    return set(Path(tempfile.gettempdir()).glob("metronome-command-*"))


def python(code, *arguments):
    return {"command": [sys.executable, "-c", code, *arguments], "value": "cycles: (?P<value>[^ ]+)$"}


def test_numbers_and_attributes_reach_the_tool():
    code = "import sys; m, n, k = map(int, sys.argv[1:]); print('cycles:', m * n * k)"
    assert (
        took(Accelerator, GEMM, (3,), **python(code, "{m}", "{n}", "{k}"), unit="cycles", clock_mhz=500)
        == 3 * 512 * 256 * 2000
    )


def test_files_go_in_and_come_out(own_scratch):
    code = "open('output', 'w').write('cycles: ' + open('in/shape.txt').read().split()[1])"
    before = scratch()
    assert took(Memory, READ, (77,), **python(code), inputs={"in/shape.txt": "{kind} {bytes}"}, unit="us") == 77 * 10**6
    assert scratch() == before


@pytest.mark.parametrize(
    ("code", "more", "why"),
    [
        ("print('cycles: 0')", {}, "0 is no time"),
        ("print('cycles: inf')", {}, "inf is no time"),
        ("print('cycles: many')", {}, "'many' is no number"),
        ("print('nothing')", {}, "finds 0 values"),
        ("print('cycles: 1\\ncycles: 2')", {"value": "cycles: (?P<value>[0-9]+)"}, "finds 2 values"),
        ("print('cycles: 5'); raise SystemExit(1)", {}, "exited with code 1; 0 would be success"),
        ("print('cycles: 5')", {"ok_exit_codes": [255]}, "exited with code 0; 255 would be success"),
        (
            "print('cycles: 5'); print('ERROR: diverged')",
            {"refuse": "ERROR.*", "value": "cycles: (?P<value>[0-9]+)"},
            "says 'ERROR: diverged'",
        ),
        (
            "import os; print('the end is near', flush=True); os.kill(os.getpid(), 9)",
            {},
            "(?s)was killed by SIGKILL.*the end is near",
        ),
        (
            "import time; print('thinking', flush=True); time.sleep(60)",
            {"timeout_s": 1.0},
            "(?s)was not done after 1 s.*thinking",
        ),
    ],
)
def test_what_a_tool_does_wrong_is_refused(own_scratch, code, more, why):
    before, started = scratch(), time.monotonic()
    with pytest.raises(ToolFailure, match=why) as caught:
        took(Memory, READ, (5,), **{**python(code), **more})
    assert "read 'r' [5]" in str(caught.value)
    assert scratch() == before and time.monotonic() - started < 20


def test_a_tool_that_exits_with_255_on_success():
    assert took(Memory, READ, (5,), **python("print('cycles: 5'); raise SystemExit(255)"), ok_exit_codes=[255]) == 5000


def test_scratch_is_kept_when_asked(own_scratch):
    before = scratch()
    took(Memory, READ, (5,), **ECHO, keep_scratch=True)
    (kept,) = scratch() - before
    kept.rmdir()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"value": "took [0-9]+"}, "group named value"),
        ({"value": "(?P<value>"}, "no regular expression"),
        ({"unit": "cycles"}, "clock_mhz"),
        ({"clock_mhz": 5}, "clock_mhz"),
        ({"command": []}, "command"),
        ({"shell": True}, "unknown key"),
    ],
)
def test_bad_configurations_are_refused(change, why):
    with pytest.raises(ConfigError, match=why):
        Memory({**ECHO, **change})


def test_what_it_cannot_do_is_refused_before_time_0():
    with pytest.raises(UnsupportedOperation, match="there is"):
        Memory({**ECHO, "command": ["sh", "{watts}"]}).declare([READ])
    with pytest.raises(UnsupportedOperation, match="kinds are write"):
        Memory({**ECHO, "kinds": ["write"]}).declare([READ])
    with pytest.raises(ConfigError, match="no such program"):
        Memory({**ECHO, "command": ["/no/such/tool"]})
    with pytest.raises(ToolFailure, match="outside the scratch folder"):
        took(Memory, READ, (5,), **ECHO, inputs={"../x": "y"})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(check):
    check(local(Memory, ECHO))


@pytest.mark.parametrize("run", ["inprocess", "process"])
def test_a_tool_in_a_run(small, tmp_path, run):
    small["workload"]["num_requests"] = 3
    small["components"] = {"n0.dram": {"model": "metronome.adapters.command:Memory", "run": run, **ECHO}}
    with Simulation(validate(small, "test"), tmp_path, LiveSource(tmp_path / "logs")) as simulation:
        simulation.run()
        assert simulation.ports.usage("n0.dram").calls > 10
    broken = {**ECHO, "command": ["/bin/sh", "-c", "echo giving up; exit 3"]}
    small["components"]["n0.dram"] |= broken
    with (
        pytest.raises(ComponentFailure, match="(?s)n0.dram: .*exited with code 3.*giving up"),
        Simulation(validate(small, "test"), tmp_path, LiveSource(tmp_path / "logs")) as simulation,
    ):
        simulation.run()

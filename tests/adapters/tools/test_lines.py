"""A tool asked line by line: killed, hanging, talking nonsense."""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path

import pytest
from metronome.adapters.tools.failure import ToolFailure
from metronome.adapters.tools.lines import LineTool

ECHO = "import sys\nfor line in sys.stdin:\n print('noise'); print('= ' + line.strip(), flush=True)"


def tool(code, timeout_s=20.0, **options):
    return LineTool([sys.executable, "-c", code], timeout_s, **options)


def test_it_answers_line_by_line_through_noise():
    echo = tool(ECHO)
    assert [echo.ask(text, "an echo") for text in ("a", "b c")] == ["a", "b c"]
    assert echo.number("17", "a number") == 17


@pytest.mark.parametrize("garbage", ["0", "-3", "nan", "1.5", "inf", "", "12 cycles"])
def test_no_positive_whole_number_is_refused(garbage):
    with pytest.raises(ToolFailure, match=r"the op.*no positive whole number"):
        tool(ECHO).number(garbage, "the op")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("print('licence expired'); raise SystemExit(3)", "exited with code 3"),
        ("print('licence expired'); raise SystemExit(0)", "exited with code 0"),
        ("import os; print('licence expired', flush=True); os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
    ],
)
def test_an_end_is_told_with_its_last_lines(code, why):
    with pytest.raises(ToolFailure, match=rf"(?s)the op: .*{why}.*licence expired"):
        tool(code).ask("x", "the op")


def test_a_refusal_speaks_for_itself():
    with pytest.raises(ToolFailure) as refused:
        tool("print('noise'); print('! no such shape', flush=True); input()").ask("x", "the op")
    assert str(refused.value).endswith("says: no such shape")


def test_silence_ends_at_the_limit():
    start = time.monotonic()
    with pytest.raises(ToolFailure, match=r"(?s)did not answer within 1 s.*started"):
        tool("print('started', flush=True)\nimport time; time.sleep(60)", 1).ask("x", "the op")
    assert time.monotonic() - start < 10


def test_after_a_failure_it_is_started_anew():
    once = tool(
        "import sys\nline = sys.stdin.readline()\nprint('= ' + line.strip() if 'b' in line else '', flush=True)"
    )
    with pytest.raises(ToolFailure):
        once.ask("a", "the op")
    assert once.ask("b", "the op") == "b"


def test_after_an_interrupt_no_answer_is_taken_for_another(monkeypatch):
    slow = tool("import sys, time\nfor line in sys.stdin:\n time.sleep(0.3); print('= ' + line.strip(), flush=True)")
    assert slow.ask("a", "the op") == "a"

    class Interrupted:
        def get(self, timeout):
            raise KeyboardInterrupt

    monkeypatch.setattr(slow, "_answers", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        slow.ask("b", "the op")
    assert slow.ask("c", "the op") == "c"


def test_a_program_that_is_not_there():
    with pytest.raises(ToolFailure, match="no-such-tool cannot be started: No such file"):
        LineTool(["no-such-tool"], 1).ask("x", "the op")


def test_nothing_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    echo = tool("import os, sys\nopen('scratch', 'w')\nfor line in sys.stdin: print(f'= {os.getpid()}', flush=True)")
    pid = echo.number("x", "its number")
    assert len(list(tmp_path.iterdir())) == 1
    del echo
    gc.collect()
    assert not list(tmp_path.iterdir())
    assert not Path(f"/proc/{pid}").exists()


def test_a_limit_of_memory():
    with pytest.raises(ToolFailure, match=r"(?s)exited with code 1.*MemoryError"):
        tool("import time; time.sleep(1); bytearray(2**31)", memory_gib=1).ask("x", "the op")

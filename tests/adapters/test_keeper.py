"""Tools and their scratch folders do not outlive the process that started them, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..conftest import ROOT

LINE = """
import sys, os
from metronome.adapters.tools.lines import LineTool
code = "import subprocess, sys, os; c = subprocess.Popen(['sleep', '600']); print('=', os.getpid(), c.pid, os.getcwd(), flush=True); sys.stdin.read()"
tool = LineTool([sys.executable, "-c", code], 20)
print(tool.ask("x", "asked"), flush=True)
sys.stdin.read()
os._exit(0)
"""
COMMAND = """
from metronome.adapters.tools.files import run
run(["sh", "-c", "sleep 600 & echo $$ $! $PWD >&3; wait"], {}, "asked", 600, [0], False)
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(holds, seconds=10):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_tool_that_runs_for_the_session(number):
    process = subprocess.Popen([sys.executable, "-c", LINE], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    tool, child, folder = process.stdout.readline().decode().split(" ", 2)
    folder = Path(folder.strip())
    assert folder.is_dir() and not gone(int(tool)) and not gone(int(child))
    process.send_signal(number) if number else process.stdin.close()
    process.wait(20)
    process.stdout.close()
    assert wait_for(lambda: gone(int(tool)) and gone(int(child)) and not folder.exists())


def test_a_tool_that_runs_for_one_answer(tmp_path):
    """Killed in the middle of it, what it has started in turn too."""
    code = COMMAND.replace(">&3", f"> {tmp_path}/pids.new; mv {tmp_path}/pids.new {tmp_path}/pids")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    assert wait_for((tmp_path / "pids").exists, 30)
    shell, child, folder = (tmp_path / "pids").read_text().split()
    time.sleep(0.2)
    process.kill()
    process.wait()
    assert wait_for(lambda: gone(int(shell)) and gone(int(child)) and not Path(folder).exists())


def test_what_a_tool_leaves_running_ends_with_its_answer(tmp_path):
    from metronome.adapters.tools.files import run

    out = run(["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"], {}, "asked", 20, [0], False)
    assert wait_for(lambda: gone(int(out.printed)))

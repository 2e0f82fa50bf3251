"""A served component that is told to end does, whichever moment that comes in."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

import pytest

#: Sends itself SIGTERM in the so-manieth line of Python after it has said where it serves.
PROGRAM = """
import os, signal, sys
from metronome.adapters.host.server import serve
from metronome.hwmodels.memory.bandwidth_latency import BandwidthLatency

class Out:
    said = False
    def write(self, text):
        self.said = self.said or "serves on" in text
        return sys.__stdout__.write(text)
    def flush(self):
        sys.__stdout__.flush()

left = int(sys.argv[1])

def trace(frame, event, arg):
    global left
    if out.said and event == "line":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
    return trace

out = sys.stdout = Out()
sys.settrace(trace)
serve(BandwidthLatency, "unix:" + sys.argv[2])
"""


@pytest.mark.parametrize("line", range(1, 16, 2))
def test_a_signal_in_any_line_ends_it(line, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(line), str(tmp_path / "socket")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(3)
        process.terminate()  # where there are fewer lines than that before it waits
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_signal_that_does_not_wake_the_main_thread_ends_it(tmp_path):
    """As one that comes an instant before that falls asleep: its handler in Python would never run."""
    elsewhere = """
import threading, time

def signalled():
    while not out.said:
        time.sleep(0.01)
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

threading.Thread(target=signalled, daemon=True).start()
"""
    program = PROGRAM.replace("serve(Band", elsewhere + "sys.settrace(None)\nserve(Band")
    process = subprocess.Popen([sys.executable, "-c", program, "0", str(tmp_path / "socket")], stdout=subprocess.PIPE)
    try:
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()

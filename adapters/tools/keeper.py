"""What tools leave behind is ended and removed when the process that started them is gone, however it went.

One small process beside ours, started with the first tool. It is told of every process group and scratch folder, and
that one of them is over; when the pipe it is told through closes, it kills the groups and removes the folders that
are left. A parent-death signal would not do: it goes by the thread that started a process.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache


class Keeper:
    """Our end. Safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it survives what ends us
            cwd="/",
        )

    def started(self, group: int, folder: str) -> None:
        """A tool leads this process group and works in this folder (empty: none that is to be removed)."""
        self._say(f"+ {group} {folder}")

    def ended(self, group: int) -> None:
        self._say(f"- {group}")

    def _say(self, line: str) -> None:
        with self._lock, suppress(OSError):  # were it gone, tools would only be less well kept
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode(errors="surrogateescape") + b"\n")
                self._process.stdin.flush()


@cache
def keeper() -> Keeper:
    return Keeper()


def main() -> None:
    """Listen until the pipe closes; then nothing is left."""
    left: dict[int, str] = {}
    for line in sys.stdin.buffer:
        word, group, *folder = line.decode(errors="surrogateescape").rstrip("\n").split(" ", 2)
        if word == "+":
            left[int(group)] = "".join(folder)
        else:
            left.pop(int(group), None)
    for group, path in left.items():
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)
        if path:
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()

"""What we leave behind is ended and removed when our process is gone, however it went.

One small process beside ours, started with the first thing to keep. It is told of every process group, scratch folder
and container, and that one of them is over; when the pipe it is told through closes, it kills the groups and removes
the folders and containers that are left. A parent-death signal would not do: it goes by the thread that started a
process.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache

ENGINE_S = 30.0  # how long a container engine may take to remove one


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

    def made(self, path: str, engine: str) -> None:
        """A resource of a container engine, by its path in the engine's API; ``engine`` is the engine's socket."""
        self._say(f"+ {path} {engine}")

    def folder(self, path: str) -> None:
        """A folder that belongs to no process group."""
        self._say(f"+ {path} {path}")

    def removed(self, path: str) -> None:
        """A folder, or a resource of an engine."""
        self._say(f"- {path}")

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
    left: dict[str, str] = {}
    for line in sys.stdin.buffer:
        word, what, *where = line.decode(errors="surrogateescape").rstrip("\n").split(" ", 2)
        if word == "+":
            left[what] = "".join(where)
        else:
            left.pop(what, None)
    for what, where in left.items():
        with suppress(OSError):
            if what.isdigit():
                os.killpg(int(what), signal.SIGKILL)
            elif what != where:
                remove(what, where)
    for what, where in left.items():
        if what.isdigit() or what == where:
            shutil.rmtree(where or os.devnull, ignore_errors=True)


def remove(path: str, engine: str) -> None:
    """DELETE at a container engine's socket, in HTTP."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ENGINE_S)
        connection.connect(engine)
        connection.sendall(f"DELETE {path} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        while connection.recv(4096):
            pass


if __name__ == "__main__":
    main()

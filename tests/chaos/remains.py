"""What a run has left: processes (tools that components start among them), sockets, folders, containers.

Whatever a marked process starts inherits the mark, so it is found whoever its parent is by now.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from metronome.orchestrator.coupling.launch import owner

MARK = "METRONOME_CHAOS"
PATIENCE_S = 15.0  # a keeper kills what a dead orchestrator has left as soon as it notices


def mark() -> None:
    """From now on what this process starts is known as its own."""
    os.environ[MARK] = owner.mine()


def marked() -> Iterator[tuple[int, str]]:
    """(process id, command line) of everything that lives and was started by this process, or by those it started.
    What stays as long as it does is not counted."""
    mine = f"{MARK}={owner.mine()}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            status = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        # One of each, for as long as this process lives: ours, and Python's own once a sweep has had workers.
        keeps = ("keeper.py" in command or "resource_tracker" in command) and int(status[1]) == os.getpid()
        if mine in environment and status[0] != "Z" and not keeps:
            yield int(entry.name), command


def sockets(owned_by: str) -> list[str]:
    """Paths of Unix sockets in folders of that owner."""
    rows = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    return sorted({row[-1] for row in rows if f"/{owner.PREFIX}{owned_by}-" in row[-1]})


def remains(owned_by: str = "") -> list[str]:
    """What is left of runs of this process, or of that owner (`owner.mine` of the process that ran)."""
    owned_by = owned_by or owner.mine()
    processes = [f"process {pid}: {command}" for pid, command in marked()]
    folders = [f"folder {path}" for path in sorted(Path(tempfile.gettempdir()).glob(f"{owner.PREFIX}{owned_by}-*"))]
    return processes + folders + [f"socket {path}" for path in sockets(owned_by)]


def remains_of_a_killed_one(owned_by: str) -> list[str]:
    """As `remains`, once its keeper has had time."""
    end = time.monotonic() + PATIENCE_S
    while (found := remains(owned_by)) and time.monotonic() < end:
        time.sleep(0.05)
    return found

"""Who a folder or a container belongs to, so that what a killed orchestrator left behind is found.

An owner is named by its process id and when it started: ids are used again, both together are not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "metronome-"


def mine() -> str:
    """This process, as ``PID-START``."""
    return f"{os.getpid()}-{_started(os.getpid())}"


def alive(owner: str) -> bool:
    """Whether that process still runs; True for what is no owner's name."""
    pid, _, start = owner.partition("-")
    if not pid.isdigit() or not start.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(start) in (0, _started(int(pid)))


def _started(pid: int) -> int:
    """Clock ticks from boot to its start; 0 where the system does not tell (field 22 of proc(5) stat)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return 0


def make_folder() -> Path:
    """A private folder (mode 0700) of this process."""
    return Path(tempfile.mkdtemp(prefix=f"{PREFIX}{mine()}-"))


def sweep_folders() -> list[Path]:
    """Remove folders whose owner is gone; returns them."""
    found = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*-*")):
        owner = "-".join(folder.name.removeprefix(PREFIX).split("-")[:2])
        if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.getuid() and not alive(owner):
            shutil.rmtree(folder, ignore_errors=True)
            found.append(folder)
    return found

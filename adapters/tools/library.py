"""A shared library with a C interface, in a process of its own: simulators' libraries end their host when they fail.

The function takes and gives 64-bit integers: ``int64_t f(int64_t, ...)``; 0 and less is a failure.
"""

from __future__ import annotations

import ctypes
import sys

from .lines import LineTool


class LibraryTool:
    """One function of one library. An answer that crashes, exits or hangs is a ToolFailure, and the next works."""

    def __init__(self, path: str, function: str, timeout_s: float, memory_gib: float | None = None) -> None:
        command = [sys.executable, "-m", "metronome.adapters.tools.library", path, function]
        self._tool = LineTool(command, timeout_s, memory_gib)

    def call(self, asked: str, *arguments: int) -> int:
        """Its answer, positive. ``asked`` is what that means, for people. Raises ToolFailure."""
        return self._tool.number(" ".join(map(str, arguments)), asked)


def main(path: str, name: str) -> None:
    """Load the library and call its function for each line of integers."""
    try:
        function = getattr(ctypes.CDLL(path), name)
    except (OSError, AttributeError) as error:
        print(f"! {error}", flush=True)
        return
    function.restype = ctypes.c_int64
    for line in sys.stdin:
        numbers = [ctypes.c_int64(int(word)) for word in line.split()]
        print(f"= {function(*numbers)}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

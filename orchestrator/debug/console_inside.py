"""The console's `inside`."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .islands import inside
from .session import DebugSession


class InsideCommand:
    """Part of `Console`: into an island, on demand."""

    session: DebugSession

    def say(self, text: str) -> None:
        raise NotImplementedError

    def do_inside(self, arg: str) -> None:
        """inside LAYER NUMBERS [--trace FILE]: an operation of an accelerator that is wired to its memory, played once
        more: what it asked at its ports, and when it was answered. NUMBERS as `validate --plan` lists them."""
        words = arg.split()
        trace = None
        if "--trace" in words:
            at = words.index("--trace")
            if at + 2 != len(words):
                raise InputError("debugger", "inside --trace", None, "comes last, with a file")
            trace, words = Path(words[at + 1]), words[:at]
        if not words:
            raise InputError("debugger", "inside", None, "a layer, and the numbers of an operation")
        for line in inside(self.session, words[0], words[1:], trace):
            self.say(line)

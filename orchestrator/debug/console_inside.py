"""The console's `inside`, and `bt`, also of what passes there."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from . import islands, looks
from .expressions import number
from .ported import Ported, Question
from .session import DebugSession


class InsideCommand:
    """Part of `Console`: into an island, on demand. ``inside`` is the operation that was looked into last."""

    session: DebugSession
    ported: Ported
    inside: Question | None

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
        asked = islands.question(self.session, words[0], words[1:])
        for line in islands.inside(self.ported, asked, trace):
            self.say(line)
        self.inside = asked

    def do_bt(self, arg: str) -> None:
        """bt (where): the chain of causes of the present event, and what an accelerator that is wired to its memory did
        in a step that the event ends. bt N: of request N that `inside` has shown, back to the operation."""
        if arg.strip():
            for line in islands.because(self.ported, self.inside, number(arg.strip())):
                self.say(line)
            return
        first, *causes = looks.backtrace(self.session)
        for line in (first, *islands.computed(self.ported), *causes):
            self.say(line)

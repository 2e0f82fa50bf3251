"""What is said to the program that simulates a target (`main.cc`): this is read and written then, go on to there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from metronome.hwmodels.interface import ConfigError

from ..tools.failure import ToolFailure
from ..tools.lines import LineTool

BEHIND = -1
Setting = bool | int | float | str


class Transfer(NamedTuple):
    """Bytes read and written, from an address on, or (`BEHIND`) from where the transfer before it ended; ``at_ps`` is a
    time of the simulation."""

    op_id: int
    at_ps: int
    microstep: int
    read_bytes: int
    written_bytes: int
    address: int


class Ran(NamedTuple):
    """How far it got; before when nothing ends, None if nothing is under way; what ended, and when. All ps."""

    reached_ps: int
    next_ps: int | None
    ends: list[tuple[int, int]]


class Simulation:
    """One target, in a process that has begun. Raises ConfigError, ToolFailure."""

    def __init__(self, program: str, timeout_s: float, settings: Mapping[str, Setting], begin: str) -> None:
        self._tool = LineTool([program], timeout_s)
        doing = "systemc, its beginning"
        lines = [f"set {name} {_text(value)}" for name, value in settings.items()]
        said = self._tool.ask("\n".join([*lines, f"begin {begin}"]), doing)
        if said.startswith("no "):
            _, name, why = said.split(" ", 2)
            raise ConfigError(f"settings.{name}", settings.get(name), why)
        self._ok(said, doing)

    def anew(self) -> None:
        """Its time is 0 again, and the target as it was."""
        doing = "systemc, its beginning anew"
        self._ok(self._tool.ask("anew", doing), doing)

    def run(self, until_ps: int, stop: bool, coming: Iterable[Transfer], doing: str) -> Ran:
        """As far as that, to the first end if ``stop``, or until nothing is under way. ``doing``: for messages."""
        words = "".join(" " + " ".join(map(str, one)) for one in coming)
        said = self._tool.ask(f"run {until_ps} {int(stop)}{words}", doing)
        try:
            reached, promised, *ends = map(int, said.split())
            return Ran(reached, promised or None, list(zip(ends[::2], ends[1::2], strict=True)))
        except ValueError:
            raise ToolFailure(doing, f"answered {said[:80]!r}, which is not what a run is answered") from None

    @staticmethod
    def _ok(said: str, doing: str) -> None:
        if said != "ok":
            raise ToolFailure(doing, f"answered {said[:80]!r} instead of ok")


def _text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

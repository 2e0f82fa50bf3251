"""What is said to the array of `fetcher.sv` (`bus.cc`): run so many cycles, these lines have come; what did you ask?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from metronome.hwmodels.accelerator.systolic import Gemm

from ..tools.failure import ToolFailure
from ..tools.lines import LineTool

LINE = 64  # bytes of a read or a write
SLOTS = 64  # reads on their way, or waiting for their turn
WRITES = 8  # on their way, at most
WORKS, WAITS, DONE = "0", "1", "2"
FIELDS = {"a": 3, "w": 2, "f": 1}  # numbers of what is said to have happened


class Answer(NamedTuple):
    """A line that has come, or one that is written; the array sees it at that edge of its clock."""

    edge: int
    slot: int | None  # of a read

    @property
    def text(self) -> str:
        return f"b {self.edge}" if self.slot is None else f"r {self.edge} {self.slot}"


class Asked(NamedTuple):
    """A line that is wanted at that edge, in a slot, or written."""

    edge: int
    slot: int | None
    address: int


class Ran(NamedTuple):
    """How far it got, in cycles, and whether it works, waits or is done. ``hungry`` and ``blocked``: cycles without
    operands, and with products that could not leave, since it began; ``asked`` and ``ends``, the edges at which tiles
    ended: since the last time."""

    cycle: int
    state: str
    hungry: int
    blocked: int
    asked: list[Asked]
    ends: list[int]


class Bus:
    """One array, which does one product at a time. Raises ToolFailure."""

    def __init__(self, program: str, timeout_s: float, reads: int) -> None:
        self._tool, self._reads = LineTool([program], timeout_s), reads

    def start(self, gemm: Gemm, folds: int) -> None:
        """The next product, of which so many tiles are done; its clock stands before the first edge."""
        m, n, k = gemm
        self._what = f"verilator-mem, a product of {m} x {k} and {k} x {n}"
        said = self._tool.ask(f"start {m} {n} {k} {folds} {self._reads}", self._what)
        if said != "0":
            raise ToolFailure(self._what, f"answered {said[:80]!r} as it began; it says 0")

    def run(self, upto: int, answers: Sequence[Answer]) -> Ran:
        """As far as that edge, or to where it waits for answers alone."""
        said = self._tool.ask(" ".join([f"run {upto}", *(answer.text for answer in answers)]), self._what)
        words = iter(said.split())
        try:
            cycle, state, hungry, blocked = int(next(words)), next(words), int(next(words)), int(next(words))
            asked, ends = [], []
            for what in words:
                numbers = [int(next(words)) for _ in range(FIELDS[what])]
                if what == "a":
                    asked.append(Asked(*numbers))
                elif what == "w":
                    asked.append(Asked(numbers[0], None, numbers[1]))
                else:
                    ends += numbers
        except (StopIteration, ValueError, KeyError):
            raise ToolFailure(self._what, f"answered {said[:80]!r}, which is not what a run is answered") from None
        return Ran(cycle, state, hungry, blocked, asked, ends)

    def image(self) -> list[bytes]:
        """All that lies in memory: both operands, in panels, and the products of the tiles."""
        return [bytes.fromhex(part) for part in self._tool.ask("image", self._what).split()]

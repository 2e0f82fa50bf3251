"""What is said to DRAMsim3's library (`dramsim3_library.cc`): go so far, these operations have come; what has ended?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metronome.hwmodels.interface import ConfigError

from ..tools.failure import ToolFailure
from ..tools.lines import LineTool
from .dramsim3_ini import Ini

ASKED = "dramsim3-library"
WINDOW = 2  # refresh periods in a window: what is alike in two of them goes on so


class Wanted(NamedTuple):
    """An operation that the memory sees at that cycle, in requests.

    ``step``: 1, one after another; 0, at places drawn from a seed; else one in each channel, and the next of a channel
    so much further on. ``is_long``: windows of it may be left out.
    """

    tag: int
    cycle: int
    reads: int
    writes: int
    first_read: int
    first_written: int
    step: int
    is_long: bool


class Ran(NamedTuple):
    """No operation ends before cycle ``next``; None: there is none. ``done``: (tag, cycle), in the order in which they
    ended. ``ticks``: of the library."""

    next: int | None
    is_open: bool
    ticks: int
    done: list[tuple[int, int]]


class Steps:
    """One library, in a process of its own, with a memory that is made anew by `new`. Raises ToolFailure.

    A library or an .ini that will not do is a ConfigError at once.
    """

    def __init__(self, program: str, library: Path, config: Path, ini: Ini, timeout_s: float) -> None:
        if not library.is_file():
            raise ConfigError("library", str(library), "no such file; the libdramsim3.so that DRAMsim3's make leaves")
        self._span = ini.requests
        window = WINDOW * ini.whole("tREFI", 7800)
        command = [program, library.resolve(), config.resolve(), ini.whole("channels", 1), ini.step("ch"), window]
        self._tool = LineTool(list(map(str, command)), timeout_s)
        try:
            self._tool.ask("load", ASKED)
        except ToolFailure as error:
            raise ConfigError("library", str(library), f"cannot be used: {error}") from None
        try:
            self.request_bytes, self.cycle_ps = self._new()
        except ToolFailure as error:
            raise ConfigError("config", str(config), f"the library does not take it: {error}") from None

    def new(self) -> None:
        """As when it was made, at cycle 0."""
        self._new()

    def _new(self) -> tuple[int, float]:
        said = self._tool.ask("new", f"{ASKED}, a memory")
        size, _, tck_ns = said.partition(" ")
        try:
            found = int(size), float(tck_ns) * 1000
        except ValueError:
            found = 0, 0.0
        if min(found) <= 0:
            raise ToolFailure(
                f"{ASKED}, a memory", f"answered {said[:80]!r}; it says bytes of a request, and ns of a cycle"
            )
        return found

    def run(self, upto: int, stop: bool, wanted: Sequence[Wanted]) -> Ran:
        """As far as that cycle; with ``stop``, to the first in which one ends; to where none is open."""
        words = ["run", str(upto), str(int(stop))]
        for one in wanted:
            words += ["o", *(str(int(number)) for number in one[:-1]), str(self._span), str(int(one.is_long))]
        ticks, done = 0, list[tuple[int, int]]()
        while True:
            asked = f"{ASKED}, cycles up to {upto}"
            said = self._tool.ask(" ".join(words), asked)
            try:
                next_cycle, is_open, more, more_ticks, *ends = (int(word) for word in said.split() if word != "d")
                done += zip(ends[::2], ends[1::2], strict=True)
            except ValueError:
                raise ToolFailure(asked, f"answered {said[:80]!r}, which is not what a run is answered") from None
            ticks += more_ticks
            if not more or (stop and done) or not is_open:
                return Ran(next_cycle if is_open else None, bool(is_open), ticks, done)
            words = words[:3]

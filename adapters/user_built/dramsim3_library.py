"""``dramsim3-library``: DRAMsim3 (Li et al., IEEE CAL 2020) as a library that is granted time, cycle by cycle.

What is under way meets in the library: open rows, queues, refreshes and turns of reads and writes are its own, and last
from one request to the next. A request a channel enters in a cycle. An operation is seen at the first cycle after its
time, and ends at the cycle in which the library calls back for the last of its requests. It posts writes: they end when
they are in its queues.

Where nothing is under way the memory is as new, and its clock begins a picosecond after the next operation. So what
that takes does not depend on when. `load` and `store` are done request by request. The others say no address: each lies
behind the one before. Of the gigabytes of a step so much is done as shows the pace; windows of time that would be alike
are left out (`dramsim3_library.cc`), to where another operation comes or one nears its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from metronome.hwmodels.base import Config, Model
from metronome.hwmodels.interface import (
    MAX_PS,
    Advanced,
    Completion,
    Description,
    Feature,
    Operation,
    Pattern,
    Provenance,
    TimePolicy,
    Use,
    in_order,
)
from metronome.hwmodels.memory.fifo import moved, transferred
from pydantic import Field

from ..tools.clock import Clock
from ..tools.environment import program
from ..tools.progress import SaysProgress
from .dramsim3_ini import Ini
from .dramsim3_steps import Steps, Wanted

BY_ADDRESS = ("load", "store")


class Dramsim3LibraryConfig(Config):
    """The library, the device, and what drives it."""

    server_side: ClassVar[frozenset[str]] = frozenset({"program"})
    library: Path = Field(description="libdramsim3.so, as DRAMsim3's own make leaves it")
    config: Path = Field(description="DRAMsim3's .ini of the device")
    pattern: Pattern | None = Field(default=None, description="default: as the operation says, else stream")
    energy_pj_per_bit: float | None = Field(default=None, ge=0)
    program: str | None = Field(
        default=None,
        description="what steps the library; default: of `metronome tools install dramsim3-library`",
        json_schema_extra={"format": "program"},
    )
    timeout_s: float = Field(default=60, gt=0, description="for 20,000 cycles")


class Dramsim3Library(SaysProgress, Model[Dramsim3LibraryConfig]):
    """All channels of the .ini."""

    tools: ClassVar[frozenset[str]] = frozenset({"dramsim3-library"})

    description = Description(
        name="dramsim3-library",
        kind="memory",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=frozenset({"read", "write", "copy", "move", *BY_ADDRESS}),
        features=frozenset({Feature.PROGRESS, Feature.INSPECT}),
        max_batch_ops=64,
        summary="DRAMsim3's library, stepped in granted time (path of libdramsim3.so)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        given = self.config
        self._ini = Ini(given.config)
        self._steps_of = {Pattern.STREAM: 1, Pattern.STRIDED: self._ini.step("ro"), Pattern.RANDOM: 0}
        tool = program("dramsim3-library", given.program)
        self._steps = Steps(tool, given.library, given.config, self._ini, given.timeout_s)
        self._now_ps = 0
        self._queue: list[Operation] = []
        self._open: dict[int, tuple[Operation, Wanted]] = {}  # that the library has been told of
        self._clock = Clock(0, self._steps.cycle_ps)
        self._next: int | None = None
        self._place = 0  # where the next operation without an address lies
        self._ticks = self._requests = self._times_new = 0

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        self._queue = sorted([*self._queue, *self.in_turn(operations, self._now_ps)], key=in_order)
        done: list[Completion] = []
        while self._begin(grant_ps):
            done += self._go(grant_ps, stop_at_first_completion)
            if self._open or (done and stop_at_first_completion):
                break
        reached = done[0].finish_ps if done and stop_at_first_completion else grant_ps
        self._now_ps = max(self._now_ps, reached)
        return Advanced(self._now_ps, tuple(done), self._promise)

    def _begin(self, grant_ps: int) -> bool:
        """Whether there is something to do by then; at rest the memory is made anew for the next."""
        if self._open:
            return True
        if not self._queue or self._queue[0].at_ps >= grant_ps:
            return False
        self._steps.new()
        self._clock = Clock(self._queue[0].at_ps + 1, self._steps.cycle_ps)
        self._place = 0
        self._times_new += 1
        return True

    def _go(self, grant_ps: int, stop: bool) -> list[Completion]:
        """What ends by then. Who comes after all others have ended finds the memory as new: it is queued again."""
        due = [one for one in self._queue if one.at_ps < grant_ps]
        self._queue = self._queue[len(due) :]
        told = [(one, self._wanted(one)) for one in due]
        self._open.update((one.op_id, (one, wanted)) for one, wanted in told)
        ran = self._steps.run(self._clock.last(grant_ps), stop, [wanted for _, wanted in told])
        self._ticks += ran.ticks
        done = [self._complete(*self._open.pop(tag), self._clock.at_ps(cycle)) for tag, cycle in ran.done]
        self._next = ran.next
        if not ran.is_open:
            self._queue = sorted([*(one for one, _ in self._open.values()), *self._queue], key=in_order)
            self._open.clear()
        return done

    def _wanted(self, operation: Operation) -> Wanted:
        kind, size = self.templates[operation.template].kind, self._steps.request_bytes
        cycle = self._clock.after(operation.at_ps)
        if kind in BY_ADDRESS:
            length, address = operation.values
            first = address // size
            count = max(1, -(-(address + length) // size) - first)
            reads, writes = (count, 0) if kind == "load" else (0, count)
            return Wanted(operation.op_id, cycle, reads, writes, first, first, 1, False)
        read, written = moved(kind, operation.values)
        writes = -(-written // size)
        reads = -(-read // size) or int(not writes)  # at least one request passes
        said = self.templates[operation.template].attributes.get("pattern", "stream")
        pattern = self.config.pattern or Pattern(str(said))
        # What is written lies in the other half of the memory, half of the banks further on.
        first, apart = self._place, self._ini.requests // 2 + self._ini.open_rows // 2
        # The next lies behind it, and spread over the banks: two that begin at one bank would keep closing its rows.
        self._place += max(reads, writes) + self._ini.open_rows * 5 // 8
        return Wanted(operation.op_id, cycle, reads, writes, first, first + apart, self._steps_of[pattern], True)

    def _complete(self, operation: Operation, wanted: Wanted, finish_ps: int) -> Completion:
        self._requests += wanted.reads + wanted.writes
        energy, kind = self.config.energy_pj_per_bit, self.templates[operation.template].kind
        spent = None if energy is None else round(transferred(kind, operation.values) * 8 * energy)
        return Completion(operation.op_id, operation.at_ps, finish_ps, Provenance.MODELLED, spent)

    @property
    def _promise(self) -> int | None:
        """Before which nothing ends; None: there is nothing to do."""
        found = [self._queue[0].at_ps + 1] if self._queue else []
        if self._open and self._next is not None:
            found.append(self._clock.at_ps(self._next))
        return min([*found, MAX_PS]) if found else None

    def inspect(self) -> dict[str, Any]:
        waiting = sorted([*self._open, *(one.op_id for one in self._queue)])
        return {"now_ps": self._now_ps, "waiting": waiting, **self.statistics()}

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """``cycles_stepped``: of the library; ``times_new``: it began to work from rest."""
        return {"requests": self._requests, "cycles_stepped": self._ticks, "times_new": self._times_new}

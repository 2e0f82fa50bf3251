"""Operations served by a unit step by step: bytes that are asked for go in, bytes that are done come out.

All steps are of one size. What comes while one is done waits for the next: so every step is known whole once its begin
has passed, and no operation that comes later changes it. What the unit has done in a step is given to the operations
first come, first served; when each of them ends in the step follows from its bytes, and is rounded up to a picosecond.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from metronome.hwmodels.base import Config, Model
from metronome.hwmodels.interface import (
    PS_PER_NS,
    Advanced,
    BadOperation,
    Completion,
    ConfigError,
    Description,
    Feature,
    Operation,
    Provenance,
    Template,
    Use,
    in_order,
)
from pydantic import Field

from ..tools.environment import python
from ..tools.failure import ToolFailure
from ..tools.progress import SaysProgress
from .unit import Unit, Value

ROUNDING = 1e-3  # bytes: what is missing by that is there, for bytes are whole and sums of what is done are not
MOST_STALLED = 1_000_000  # steps without a byte of what is wanted, after which it will never be done


class FmiConfig(Config):
    """A unit, its step, and its variables by name."""

    server_side: ClassVar[frozenset[str]] = frozenset({"python", "parameters"})
    fmu: Path = Field(description="the unit: FMI 2.0 or 3.0, for co-simulation")
    step_ns: float = Field(ge=0.001, le=1e12, description="communication step, while anything is asked for")
    rest_ns: float | None = Field(
        default=None,
        ge=0.001,
        description="longest step while nothing is, of a unit whose steps may vary; default: all of it is one step",
    )
    wanted_bytes: str = Field(
        default="wanted_bytes", description="input: bytes asked for and not done as a step begins"
    )
    done_bytes: str = Field(default="done_bytes", description="output: bytes done in the step")
    parameters: dict[str, Value] = Field(default={}, description="start values of parameters and of other inputs")
    outputs: list[str] = Field(default=[], description="variables that inspect and statistics show")
    python: str | None = Field(
        default=None,
        description="interpreter that has FMPy; default: that of `metronome tools install fmi`",
        json_schema_extra={"format": "program"},
    )
    timeout_s: float = Field(default=60, gt=0, description="longest silence")


C = TypeVar("C", bound=FmiConfig)


@dataclass(slots=True)
class _Open:
    """An operation that is served: done when ``end`` bytes are, counted from when nothing was asked for."""

    operation: Operation
    end: int


class Stepped(SaysProgress, Model[C]):
    """``_waiting``: given, and not told to the unit; ``_open``: told; ``_ended``: known, and not said yet.

    ``_stepped_ps``: where the unit's last step ends, up to a step ahead of the component's own time. ``_front_ps``:
    since when the first of the open ones is served.
    """

    tools: ClassVar[frozenset[str]] = frozenset({"fmi"})

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        own = self.config
        self._step_ps = round(own.step_ns * PS_PER_NS)
        self._python = python("fmi", own.python)
        self._unit: Unit | None = None
        self._now_ps = self._stepped_ps = self._front_ps = 0
        self._waiting: list[Operation] = []
        self._open: deque[_Open] = deque()
        self._ended: deque[Completion] = deque()
        self._given, self._did = 0, 0.0  # bytes since nothing was asked for
        self._stalled = 0
        self._moved = [0, 0]

    @abstractmethod
    def moves(self, operation: Operation) -> tuple[int, int]:
        """Bytes read and written, which pass the unit."""

    def declare(self, templates: Sequence[Template]) -> None:
        super().declare(templates)
        if self._unit is None:  # what cannot be is said before time 0
            own = self.config
            if not own.fmu.is_file():
                raise ConfigError("fmu", str(own.fmu), "no such file")
            fmu = str(own.fmu.resolve())
            asked = own.model_dump(include={"wanted_bytes", "done_bytes", "parameters", "outputs"})
            self._unit = Unit(self._python, own.timeout_s, {**asked, "fmu": fmu})
            if not self._unit.snapshots:
                can = self.description.features - {Feature.SNAPSHOT}
                self.description: Description = replace(self.description, features=can)  # type: ignore[misc]

    @property
    def _there(self) -> Unit:
        if self._unit is None:
            raise AssertionError("it is asked for what it was told of")
        return self._unit

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        self._take(operations)
        done: list[Completion] = []
        reached = grant_ps
        while True:
            while self._ended and self._ended[0].finish_ps <= grant_ps:
                if stop_at_first_completion and done and self._ended[0].finish_ps > reached:
                    break
                done.append(self._ended.popleft())
                if stop_at_first_completion:
                    reached = done[-1].finish_ps
            begins = self._begins()
            if (stop_at_first_completion and done) or begins is None or begins >= grant_ps:
                break
            self._step(begins)
        self._now_ps = max(self._now_ps, reached)
        return Advanced(self._now_ps, tuple(done), self._next_ps)

    def _take(self, operations: Sequence[Operation]) -> None:
        coming = self.in_turn(operations, self._now_ps)
        if not coming:
            return
        known = {one.op_id for one in self._waiting}
        known |= {one.operation.op_id for one in self._open} | {one.op_id for one in self._ended}
        for one in coming:
            if one.op_id in known:
                raise BadOperation(f"operation {one.op_id} is in progress already")
            known.add(one.op_id)
        self._waiting = sorted([*self._waiting, *coming], key=in_order)

    def _begins(self) -> int | None:
        """When the next step with anything to do begins. A unit whose steps vary is woken when something comes."""
        if self._open:
            return self._stepped_ps
        if not self._waiting:
            return None
        begins = max(self._waiting[0].at_ps, self._stepped_ps)
        return begins if self._there.variable_steps else -(-begins // self._step_ps) * self._step_ps

    def _step(self, begins: int) -> None:
        """Everything that comes until then is given."""
        unit, step = self._there, self._step_ps
        if begins > self._stepped_ps:
            rest_ns = self.config.rest_ns
            longest = begins - self._stepped_ps if rest_ns is None else round(rest_ns * PS_PER_NS)
            unit.rest(self._stepped_ps, begins, longest if unit.variable_steps else step)
        self._admit(begins)
        wanted = self._given - self._did
        did = unit.step(begins, begins + step, wanted)
        self._stepped_ps = begins + step
        self._stalled = 0 if did else self._stalled + 1
        if self._stalled > MOST_STALLED:
            why = f"has done none of {wanted:g} bytes in {MOST_STALLED:,} steps"
            raise ToolFailure(f"{self.description.name}, {self.config.fmu.name}", why)
        self._end(begins, self._given if did >= wanted - ROUNDING else self._did + did)

    def _admit(self, begins: int) -> None:
        if not self._open:
            self._given, self._did, self._front_ps = 0, 0.0, begins
        count = 0
        for one in self._waiting:
            if one.at_ps > begins:
                break
            self._given += max(1, sum(self.moves(one)))  # at least one byte passes
            self._open.append(_Open(one, self._given))
            count += 1
        del self._waiting[:count]

    def _end(self, begins: int, did: float) -> None:
        """Of a step in which the bytes done became ``did``."""
        before, self._did = self._did, did
        while self._open and self._open[0].end <= did + ROUNDING:
            one = self._open.popleft()
            start = self._front_ps
            within = ceil(self._step_ps * ((one.end - before) / (did - before)))
            self._front_ps = max(start + 1, begins + min(within, self._step_ps))
            read, written = self.moves(one.operation)
            self._moved = [self._moved[0] + read, self._moved[1] + written]
            self._ended.append(Completion(one.operation.op_id, start, self._front_ps, Provenance.MODELLED))

    @property
    def _next_ps(self) -> int | None:
        """Before which nothing ends: of a step that is not known, its first picosecond."""
        if self._ended:
            return self._ended[0].finish_ps
        begins = self._begins()
        return None if begins is None else max(begins, self._now_ps) + 1

    def inspect(self) -> dict[str, Any]:
        """The unit as of its last step."""
        queue = [[one.operation.op_id, one.end - self._did] for one in self._open]
        outputs = {} if self._unit is None else {name: dict(seen) for name, seen in self._unit.outputs.items()}
        return {"now_ps": self._now_ps, "stepped_ps": self._stepped_ps, "queue": queue, "outputs": outputs}

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """Of what has ended; outputs as of the unit's last step, and the lowest and highest of all."""
        found: dict[str, Any] = {"read_bytes": self._moved[0], "written_bytes": self._moved[1]}
        if self._unit is not None:
            found |= {"steps": self._unit.steps, "outputs": self._unit.outputs, "unit": self._unit.facts}
        return found

    def snapshot(self) -> dict[str, Any]:
        if not self._there.snapshots:
            raise ToolFailure(f"{self.description.name}, {self.config.fmu.name}", "cannot save its state")
        return {
            "times_ps": [self._now_ps, self._stepped_ps, self._front_ps],
            "waiting": [list(one) for one in self._waiting],
            "open": [[list(one.operation), one.end] for one in self._open],
            "ended": [[one.op_id, one.start_ps, one.finish_ps] for one in self._ended],
            "bytes": [self._given, self._did, *self._moved],
            "stalled": self._stalled,
            "unit": self._there.save(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._now_ps, self._stepped_ps, self._front_ps = map(int, state["times_ps"])
        self._waiting = [_operation(one) for one in state["waiting"]]
        self._open = deque(_Open(_operation(one), int(end)) for one, end in state["open"])
        self._ended = deque(_completion(one) for one in state["ended"])
        given, did, *moved = state["bytes"]
        self._given, self._did, self._moved = int(given), float(did), [int(one) for one in moved]
        self._stalled = int(state["stalled"])
        self._there.load(state["unit"])


def _operation(kept: Sequence[Any]) -> Operation:
    template, values, op_id, at_ps, microstep, after = kept
    whole = tuple(int(one) for one in values), int(op_id), int(at_ps), int(microstep), tuple(map(int, after))
    return Operation(int(template), *whole)


def _completion(kept: Sequence[Any]) -> Completion:
    op_id, start, finish = map(int, kept)
    return Completion(op_id, start, finish, Provenance.MODELLED)

"""``systemc``: a memory that is a TLM-2.0 target in SystemC, of anybody's, behind an initiator of ours (`main.cc`).

A transfer is cut into bursts, each a generic payload; those of all transfers on their way go in turn, so users meet in
the target. Only times come back: nobody looks at the bytes.

``systemc`` begins the simulation anew whenever something comes and nothing is under way, so an answer is a function of
what is asked alone. ``systemc-lasting`` has one simulation: rows stay open, refreshes go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from metronome.hwmodels.base import Config, Model
from metronome.hwmodels.interface import (
    Advanced,
    BadOperation,
    Completion,
    ConfigError,
    Description,
    Feature,
    Operation,
    Provenance,
    Template,
    TimePolicy,
    Use,
    in_order,
)
from pydantic import Field, field_validator

from ..tools.environment import program
from ..tools.failure import ToolFailure
from ..tools.progress import SaysProgress
from .session import BEHIND, Ran, Setting, Simulation, Transfer

BY_ADDRESS = ("load", "store")


class SystemCConfig(Config):
    """A program with a target in it, and how it is asked."""

    server_side: ClassVar[frozenset[str]] = frozenset({"program", "settings"})
    program: str | None = Field(
        default=None,
        description="built by `metronome tools build systemc`; default: banks that share a bus, of `metronome tools "
        "install systemc`",
        json_schema_extra={"format": "program"},
    )
    settings: dict[str, Setting] = Field(default={}, description="the target's own, by name")
    protocol: Literal["lt", "at"] = Field(
        default="lt", description="lt: each burst is a call of b_transport; at: the four phases of nb_transport"
    )
    burst_bytes: int = Field(default=64, gt=0, le=1 << 20, description="of a transfer that are one payload, at most")
    outstanding: int = Field(
        default=32, gt=0, le=1024, description="bursts on their way, at most; of several transfers in turn"
    )
    size_gib: float | None = Field(default=None, gt=0, description="addresses wrap here; default: nowhere")
    timeout_s: float = Field(default=60, gt=0, description="longest silence")

    @field_validator("settings")
    @classmethod
    def _lines(cls, settings: dict[str, Setting]) -> dict[str, Setting]:
        for name, value in settings.items():
            if not name or name.split() != [name] or "\n" in str(value):
                raise ValueError(f"{name!r}: a name is one word, a value one line")
        return settings


class _Target(SaysProgress, Model[SystemCConfig]):
    """``_waiting``: given, and not in the simulation; ``_open``: handed to it. Its time 0 is ``_began_ps``."""

    tools: ClassVar[frozenset[str]] = frozenset({"systemc"})

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        own = self.config
        self._size = round((own.size_gib or 0) * 2**30)
        if own.size_gib is not None and self._size < own.burst_bytes:
            raise ConfigError("size_gib", own.size_gib, f"a burst has {own.burst_bytes} bytes")
        self._program = program("systemc", own.program)
        self._simulation: Simulation | None = None
        self._now_ps = self._began_ps = 0
        self._promised_ps: int | None = None
        self._waiting: list[Operation] = []
        self._open: dict[int, Operation] = {}
        self._read_bytes = self._written_bytes = 0

    def declare(self, templates: Sequence[Template]) -> None:
        super().declare(templates)
        if self._simulation is None:  # what its target refuses is said before time 0
            own = self.config
            begin = f"{own.protocol} {own.burst_bytes} {own.outstanding} {self._size}"
            self._simulation = Simulation(self._program, own.timeout_s, own.settings, begin)

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        coming = self.in_turn(operations, self._now_ps)
        known = {*self._open, *(one.op_id for one in self._waiting)}
        for one in coming:
            if one.op_id in known:
                raise BadOperation(f"operation {one.op_id} is in progress already")
            known.add(one.op_id)
        self._waiting = sorted([*self._waiting, *coming], key=in_order)
        done: list[Completion] = []
        reached = grant_ps
        while self._acts(grant_ps):
            ran = self._run(grant_ps, stop_at_first_completion)
            done += [self._completion(op_id, end) for op_id, end in ran.ends]
            self._promised_ps = None if ran.next_ps is None else ran.next_ps + self._began_ps
            if ran.next_ps is None:
                self._forgotten()
            if stop_at_first_completion and done:
                reached = ran.reached_ps + self._began_ps
                break
            if ran.next_ps is not None:
                break
        self._now_ps = max(self._now_ps, reached)
        return Advanced(self._now_ps, tuple(done), self._next_ps)

    def _acts(self, grant_ps: int) -> bool:
        """Whether anything may happen by then."""
        due = bool(self._waiting) and self._waiting[0].at_ps <= grant_ps
        return due or (bool(self._open) and self._promised_ps is not None and self._promised_ps <= grant_ps)

    def _run(self, grant_ps: int, stop: bool) -> Ran:
        """What is due by the grant is in the simulation: a new one, if nothing is under way."""
        if self._simulation is None:
            raise AssertionError("it is asked for what it was told of")
        if not self._open:
            self._begin(self._simulation, self._waiting[0].at_ps)
        due = [one for one in self._waiting if one.at_ps <= grant_ps]
        self._waiting = self._waiting[len(due) :]
        self._open |= {one.op_id: one for one in due}
        coming = [self._transfer(one) for one in due]
        many = f"{len(self._open)} transfer{'s' if len(self._open) > 1 else ''}"
        doing = f"{self.description.name}, {many} from {self._now_ps} ps on"
        return self._simulation.run(grant_ps - self._began_ps, stop, coming, doing)

    def _begin(self, simulation: Simulation, at_ps: int) -> None:
        """Something comes then, and nothing is under way."""

    def _forgotten(self) -> None:
        """What had not come when nothing was under way any more has to be said again."""
        self._waiting = sorted([*self._open.values(), *self._waiting], key=in_order)
        self._open.clear()

    def _transfer(self, operation: Operation) -> Transfer:
        at_ps = operation.at_ps - self._began_ps
        address = operation.values[1] if self._kind(operation) in BY_ADDRESS else BEHIND
        return Transfer(operation.op_id, at_ps, operation.microstep, *self._moved(operation), address)

    def _kind(self, operation: Operation) -> str:
        return self.templates[operation.template].kind

    def _moved(self, operation: Operation) -> tuple[int, int]:
        """Bytes read and written; at least one passes."""
        kind, values = self._kind(operation), operation.values
        read = 0 if kind in ("write", "store") else values[0]
        written = values[1] if kind == "move" else 0 if kind in ("read", "load") else values[0]
        if read + written:
            return read, written
        return (0, 1) if kind in ("write", "store") else (1, 0)

    def _completion(self, op_id: int, end_ps: int) -> Completion:
        operation = self._open.pop(op_id, None)
        if operation is None:
            raise ToolFailure("systemc", f"says that transfer {op_id} has ended, which is not under way")
        read, written = self._moved(operation)
        self._read_bytes += read
        self._written_bytes += written
        return Completion(op_id, operation.at_ps, end_ps + self._began_ps, Provenance.MODELLED)

    @property
    def _next_ps(self) -> int | None:
        """Before which nothing ends: what has yet to come takes a picosecond."""
        coming = [self._waiting[0].at_ps + 1] if self._waiting else []
        promised = [self._promised_ps] if self._open and self._promised_ps is not None else []
        return max(min([*promised, *coming]), self._now_ps + 1) if promised or coming else None

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        """Of what has ended."""
        return {"read_bytes": self._read_bytes, "written_bytes": self._written_bytes}


class SystemC(_Target):
    """At rest it is as new."""

    description = Description(
        name="systemc",
        kind="memory",
        version="1",
        time_policy=TimePolicy.FORWARD_ONLY,
        op_kinds=frozenset({"read", "write", "copy", "move", *BY_ADDRESS}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=500,
        summary="a TLM-2.0 target in SystemC, at rest as new (metronome tools install systemc)",
    )

    def _begin(self, simulation: Simulation, at_ps: int) -> None:
        simulation.anew()
        self._began_ps = at_ps


class Lasting(_Target):
    """It keeps its state while it rests: always stepped, and behind no port."""

    description = replace(
        SystemC.description,
        name="systemc-lasting",
        memoryless=False,
        summary="a TLM-2.0 target in SystemC that keeps its state (metronome tools install systemc)",
    )

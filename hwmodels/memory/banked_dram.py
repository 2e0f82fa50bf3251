"""``banked-dram``: channels, bank groups, banks and rows with a part's timing (`dram_channel`), as a memory.

Cycles cannot be counted for the gigabytes of a step. So one channel of a transfer, which lies over all alike, is played
from rest: a short one burst by burst, of a long one as much as it takes to know its pace (`dram_load`). They are done
one at a time, first come, first served (`Fifo`).

What asks by address (`load`, `store`: components with a port) is done burst by burst, as it comes (`dram_requests`). It
cannot look ahead then, as what comes may go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ..base import Config
from ..interface import (
    Advanced,
    Completion,
    ComponentError,
    ConfigError,
    Description,
    Feature,
    Operation,
    Pattern,
    Template,
    TimePolicy,
    UnsupportedOperation,
)
from . import dram_parts
from .dram_load import clocks
from .dram_parts import Part
from .dram_requests import Requests
from .fifo import Fifo, moved, transferred

BY_ADDRESS = ("load", "store")


class BankedDramConfig(Config):
    """A part, and how many of it. ``pattern``: how everything lies, whatever an operation says."""

    part: str | Part = Field(description=f"{', '.join(dram_parts.names())}, or a part's figures")
    count: int = Field(default=1, gt=0, description="stacks, or channels of a DIMM, side by side")
    pattern: Pattern | None = Field(default=None, description="default: as the operation says, else stream")
    energy_pj_per_bit: float | None = Field(default=None, ge=0)


class BankedDram(Fifo[BankedDramConfig]):
    """Channels of a part that share nothing."""

    description = Description(
        name="banked-dram",
        kind="memory",
        version="1",
        time_policy=TimePolicy.CONSERVATIVE,
        op_kinds=frozenset({"read", "write", "copy", "move", *BY_ADDRESS}),
        features=frozenset({Feature.SNAPSHOT, Feature.INSPECT}),
        summary="DRAM by its timing: channels, banks, open rows, refresh, FR-FCFS; parts as data",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        named = self.config.part
        try:
            self._part = dram_parts.part(named) if isinstance(named, str) else named
        except KeyError as error:
            raise ConfigError("part", named, error.args[0]) from None
        self._requests: Requests | None = None

    def declare(self, templates: Sequence[Template]) -> None:
        super().declare(templates)
        kinds = {template.kind in BY_ADDRESS for template in self.templates.values()}
        if len(kinds) > 1:
            odd = next(t for t in self.templates.values() if t.kind not in BY_ADDRESS)
            why = f"it is asked by address here ({', '.join(BY_ADDRESS)}), and does not do both in one session"
            raise UnsupportedOperation("banked-dram", odd, why)
        if kinds == {True}:
            self._requests = Requests(self._part, self.config.count)

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        if self._requests is None:
            return super().advance(grant_ps, operations, stop_at_first_completion)
        return self._burst_by_burst(self._requests, grant_ps, operations, stop_at_first_completion)

    def _burst_by_burst(
        self, requests: Requests, grant_ps: int, operations: Sequence[Operation], stop: bool
    ) -> Advanced:
        for operation in self.in_turn(operations, self._now_ps):
            requests.take(operation, self.kind(operation) == "store")
        done: list[Completion] = []
        reached = grant_ps
        while stop and not done and (soonest := requests.next_ps) is not None and soonest <= grant_ps:
            reached = soonest
            done = requests.until(soonest)
        if not done:
            reached = grant_ps
            done = requests.until(grant_ps)
        self._now_ps = max(self._now_ps, reached)
        return Advanced(self._now_ps, tuple(done), requests.next_ps)

    def snapshot(self) -> dict[str, Any]:
        if self._requests is not None:
            raise ComponentError("banked-dram takes no snapshots where it is asked by address")
        return super().snapshot()

    def inspect(self) -> dict[str, Any]:
        if self._requests is not None:
            return {"now_ps": self._now_ps, "waiting": self._requests.waiting, **self._requests.figures()}
        return super().inspect()

    def transfer_ps(self, operation: Operation) -> int:
        template, part = self.templates[operation.template], self._part
        read, written = moved(template.kind, operation.values)
        pattern = self.config.pattern or Pattern(str(template.attributes.get("pattern", "stream")))
        side_by_side = part.burst_bytes * part.channels * self.config.count
        writes = -(-written // side_by_side)
        reads = -(-read // side_by_side) or int(not writes)  # at least one burst passes
        return max(1, round(clocks(part, pattern, reads, writes) * part.tck_ps))

    def energy_pj(self, operation: Operation) -> int | None:
        energy = self.config.energy_pj_per_bit
        return None if energy is None else round(transferred(self.kind(operation), operation.values) * 8 * energy)

    def statistics(self, uses: Any = ()) -> dict[str, Any]:
        named = self.config.part if isinstance(self.config.part, str) else "own"
        figures = self._requests.figures() if self._requests else {}
        return {"part": named, "source": self._part.source, **figures}

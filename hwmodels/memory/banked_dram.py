"""``banked-dram``: channels, bank groups, banks and rows with a part's timing (`dram_channel`), as a memory.

Cycles cannot be counted for the gigabytes of a step. So one channel is simulated under a load of each kind, once, and
its rate carries on: a transfer takes the latency of its first burst, its row closed, and the others at that rate, over
all channels alike. It is one transfer at a time, first come, first served (`Fifo`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import Field

from ..base import Config
from ..interface import ConfigError, Description, Feature, Operation, Pattern, TimePolicy
from . import dram_parts
from .dram_channel import clocks_a_burst
from .dram_parts import Part
from .fifo import Fifo, moved, transferred

SHARES = 8  # loads are simulated with so many written shares, and interpolated between


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
        op_kinds=frozenset({"read", "write", "copy", "move"}),
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

    def transfer_ps(self, operation: Operation) -> int:
        template, part = self.templates[operation.template], self._part
        read, written = moved(template.kind, operation.values)
        pattern = self.config.pattern or Pattern(str(template.attributes.get("pattern", "stream")))
        total = read + written
        bursts = -(-total // (part.burst_bytes * part.channels * self.config.count))
        timing = part.timing
        first = timing.rcd_rd + timing.cl if read or not total else timing.rcd_wr + timing.cwl
        clocks = first + part.burst + max(0, bursts - 1) * _mixed(part, pattern, written / total if total else 0.0)
        return max(1, round(clocks * part.tck_ps))

    def energy_pj(self, operation: Operation) -> int | None:
        energy = self.config.energy_pj_per_bit
        return None if energy is None else round(transferred(self.kind(operation), operation.values) * 8 * energy)

    def statistics(self, uses: Any = ()) -> dict[str, Any]:
        return {"part": self.config.part if isinstance(self.config.part, str) else "own", "source": self._part.source}


def _mixed(part: Part, pattern: Pattern, written: float) -> float:
    """Clocks a burst."""
    low = min(SHARES - 1, int(written * SHARES))
    share = written * SHARES - low
    below, above = (
        _rate(part, pattern, step / SHARES) if weight else 0.0 for step, weight in ((low, 1 - share), (low + 1, share))
    )
    return below * (1 - share) + above * share


@cache
def _rate(part: Part, pattern: Pattern, written: float) -> float:
    return clocks_a_burst(part, pattern, written)

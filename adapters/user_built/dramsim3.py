"""``dramsim3``: DRAMsim3 (Li et al., IEEE CAL 2020) as a memory.

Its trace front end sends one request a cycle at most (`TraceBasedCPU` in its src/cpu.cc), which is less than several
channels serve. So one channel of the device is simulated and the channels, which share nothing, are added up. The tool
always runs as many cycles as it is told, whatever is left to do; two runs a kind are made, once:

- one request alone: the latency of an isolated read, with its row closed;
- more requests than a channel can serve, one after another in the address space: what it served is its bandwidth.

A transfer takes that latency, and its bytes at that bandwidth. The tool posts writes and knows no latency of them: that
of a read stands for it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.catalog.dramsim3 import bits_a_cycle
from metronome.hwmodels.interface import (
    PS_PER_NS,
    Description,
    Feature,
    Provenance,
    Template,
    TimePolicy,
)
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig
from .dramsim3_ini import Ini

ALONE_CYCLES = 1000  # for one read: longer than any takes, shorter than the time between refreshes
KEEPS_UP = 0.95  # requests served a cycle, of the one that the front end sends: then the channel was not the limit


class Dramsim3Config(ToolConfig):
    """`program` is dramsim3main."""

    config: Path = Field(description="DRAMsim3's .ini of the device")
    cycles: int = Field(default=100_000, ge=ALONE_CYCLES, description="DRAM cycles of the measurement under load")


class Dramsim3(Tool[Dramsim3Config]):
    """One memory of the .ini's channels, streamed through."""

    description = Description(
        name="dramsim3",
        kind="memory",
        version="2",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"read", "write", "copy"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="DRAMsim3, a channel saturated once for its bandwidth (path of dramsim3main)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._ini = Ini(self.config.config)
        self._tck_ps = self._ini.number("tCK", 1.0) * PS_PER_NS
        self._channels = round(self._ini.number("channels", 1))
        self._request = round(self._ini.number("bus_width", 64) * self._ini.number("BL", 8) / 8)

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        latency, per_byte = self._latency(), self._per_byte(template.kind)
        return Estimate(max(1, round(latency + values[0] * per_byte)), Provenance.MODELLED)

    def _latency(self) -> float:
        """ps of an isolated read."""
        if "latency" not in self._known:
            asked = "dramsim3, one read alone"
            # It inserts the last line of a trace twice, unless that has no end.
            found = self._run_trace(asked, "0x0 READ 0", ALONE_CYCLES)
            if found["num_reads_done"] != 1 or not found["average_read_latency"] > 0:
                raise ToolFailure(asked, f"it served {found['num_reads_done']:g} reads", json.dumps(found))
            self._known["latency"] = found["average_read_latency"] * self._tck_ps
        return self._known["latency"]

    def _per_byte(self, kind: str) -> float:
        """ps a byte, all channels at once."""
        if kind not in self._known:
            cycles = self.config.cycles
            asked = f"dramsim3, {kind} for {cycles} cycles"
            found = self._run_trace(asked, "".join(self._requests(kind, cycles + 1)), cycles)
            # A write is done, for the tool, when it is accepted; served is what became a command.
            served = found["num_read_cmds"] + found["num_write_cmds"]
            self._check_saturated(asked, served / cycles)
            # A copy moves each of its bytes twice.
            moved = served * self._request / (2 if kind == "copy" else 1)
            self._known[kind] = cycles * self._tck_ps / (moved * self._channels)
        return self._known[kind]

    def _requests(self, kind: str, count: int) -> list[str]:
        size = self._request
        if kind == "copy":  # from the lower half of a channel to the upper
            far = round(self._ini.number("channel_size", 1024)) << 19
            pairs = ((i // 2 * size + far * (i % 2), ("READ", "WRITE")[i % 2]) for i in range(count))
        else:
            pairs = ((i * size, kind.upper()) for i in range(count))
        return [f"0x{address:x} {word} 0\n" for address, word in pairs]

    def _check_saturated(self, asked: str, a_cycle: float) -> None:
        peak = bits_a_cycle(self._ini.value("protocol", "DDR3")) / self._ini.number("BL", 8)
        if a_cycle == 0:
            raise ToolFailure(asked, "it served nothing")
        if a_cycle > peak * 1.001:
            raise ToolFailure(
                asked, f"it served {a_cycle:.3f} requests a cycle; the bus of a channel has room for {peak:g}"
            )
        if a_cycle >= KEEPS_UP:
            raise ToolFailure(
                asked,
                f"it served {a_cycle:.3f} requests a cycle, and its trace front end sends one: "
                "a channel of this device cannot be saturated so",
            )

    def _run_trace(self, asked: str, trace: str, cycles: int) -> dict[str, float]:
        """The statistics of the one channel."""
        ini, count = re.subn(r"(?m)^(\s*channels\s*=).*$", r"\1 1", self._ini.text)
        if not count and self._channels != 1:
            raise ToolFailure(asked, "the .ini names its channels in a way that is not understood")
        arguments = ["memory.ini", "-c", str(cycles), "-t", "trace.txt", "-o", "."]
        ran = self._run(asked, arguments, {"memory.ini": ini, "trace.txt": trace}, ["dramsim3.json"])
        text = ran.files.get("dramsim3.json")
        if text is None:
            raise ToolFailure(asked, "it wrote no dramsim3.json", ran.printed)
        names = ("num_cycles", "num_reads_done", "num_read_cmds", "num_write_cmds", "average_read_latency")
        try:
            (channel,) = json.loads(text).values()
            found = {name: float(channel[name]) for name in names}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ToolFailure(asked, f"its dramsim3.json has not what is expected: {error!r}", text[:500]) from None
        if found["num_cycles"] != cycles:
            raise ToolFailure(asked, f"it ran {found['num_cycles']:g} cycles", ran.printed)
        return found

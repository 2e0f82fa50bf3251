"""``dramsim3``: DRAMsim3 (Li et al., IEEE CAL 2020) as a memory.

It always runs as many cycles as it is told, whatever is left to do. So it is kept saturated: more
requests than it can serve, one after another in the address space, all at once; what it served in those
cycles is its bandwidth, and a transfer takes that and the latency of one access. Asked for once a kind.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import PS_PER_NS, Description, Feature, Provenance, Template, TimePolicy
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig, only_number, read

REQUEST_BYTES = 64


class Dramsim3Config(ToolConfig):
    """`program` is dramsim3main."""

    config: Path = Field(description="DRAMsim3's .ini of the device")
    cycles: int = Field(default=100_000, ge=1000, description="DRAM cycles of a measurement")


class Dramsim3(Tool[Dramsim3Config]):
    """One memory of the .ini's channels, streamed through."""

    description = Description(
        name="dramsim3",
        kind="memory",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"read", "write", "copy"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="DRAMsim3, saturated once for its bandwidth (path of dramsim3main)",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._ini = read(self.config.config)

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        if template.kind not in self._known:
            self._known[template.kind], self._known[template.kind, "latency"] = self._measure(template.kind)
        ps = self._known[template.kind, "latency"] + values[0] * self._known[template.kind]
        return Estimate(max(1, round(ps)), Provenance.MODELLED)

    def _measure(self, kind: str) -> tuple[float, float]:
        """(ps a byte, ps of one access)."""
        cycles, asked = self.config.cycles, f"dramsim3, {kind} for {self.config.cycles} cycles"
        # A cycle serves at most one request a channel: this is more than it can do.
        requests = cycles * only_number(self._ini, r"^channels\s*=\s*(\d+)", asked)
        words = {"read": ("READ", "READ"), "write": ("WRITE", "WRITE"), "copy": ("READ", "WRITE")}[kind]
        trace = "\n".join(f"0x{i * REQUEST_BYTES:x} {words[i % 2]} 0" for i in range(requests)) + "\n"
        ran = self._run(
            asked,
            ["memory.ini", "-c", str(cycles), "-t", "trace.txt", "-o", "."],
            {"memory.ini": self._ini, "trace.txt": trace},
            ["dramsim3.json"],
        )
        text = ran.files.get("dramsim3.json")
        if text is None:
            raise ToolFailure(asked, "it wrote no dramsim3.json", ran.printed)
        try:
            channels = list(json.loads(text).values())
            ran_for = {int(channel["num_cycles"]) for channel in channels}
            reads = sum(int(channel["num_reads_done"]) for channel in channels)
            writes = sum(int(channel["num_writes_done"]) for channel in channels)
            latency = max(float(channel["average_read_latency"]) for channel in channels)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ToolFailure(asked, f"its dramsim3.json has not what is expected: {error!r}", text[:500]) from None
        if ran_for != {cycles}:
            raise ToolFailure(asked, f"it ran {sorted(ran_for)} cycles", ran.printed)
        if not 0 < reads + writes < requests:
            raise ToolFailure(asked, f"it served {reads + writes} of {requests} requests: no measure of the memory")
        tck_ps = float(_clock_ns(self._ini, asked)) * PS_PER_NS
        # A copy moves each of its bytes twice.
        return cycles * tck_ps / ((reads + writes) * REQUEST_BYTES) * (2 if kind == "copy" else 1), latency * tck_ps


def _clock_ns(ini: str, asked: str) -> str:
    """The .ini's clock period in ns."""
    for line in ini.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "tCK":
            return value.strip()
    raise ToolFailure(asked, "the .ini has no tCK")

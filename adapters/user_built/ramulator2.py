"""``ramulator2``: Ramulator 2.1 (Luo et al., IEEE CAL 2023) as a memory, through its load-store traces.

`program` runs a trace of ``LD|ST address`` lines and prints all of ``Simulation.stats``: a few lines of Python around
its bindings (`adapters/examples/tools/ramulator2_trace.py`). A run ends when the last request is *sent*, with others
still in the queues, so the time of a run is no time of a transfer. What is asked, once a kind:

- two traces, one twice as long: the cycles between their ends over the requests *served* between them
  (``num_read_reqs_served``, ``num_write_reqs_served``) are those of a request under load;
- one load, and stores to one other place behind it, which cost no time of the memory's (they are merged in the write
  queue) and keep the run going until the load is done: the latency of an isolated read.

A transfer takes that latency and its requests' time. A store ends, in the tool, when its command is issued; the read's
latency stands for it. Idle memory: transfers do not meet.
"""

from __future__ import annotations

import re
from typing import ClassVar, NamedTuple

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import PS_PER_S, Description, Feature, Provenance, Template, TimePolicy
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig, only_number

FAR = 1 << 28  # where a copy writes to, and where the stores of the read alone go
PATIENCE = tuple(1 << bits for bits in range(10, 21, 2))  # stores behind the read alone, until they are enough
SATURATED = 0.9  # of what the front end could send: where the memory takes more, the front end is the limit


class Ramulator2Config(ToolConfig):
    """``arguments`` may name {trace}, a file of its scratch folder."""

    server_side: ClassVar[frozenset[str]] = frozenset({"arguments"})
    arguments: list[str] = ["{trace}"]
    tck_ps: int = Field(gt=0, description="clock period of the memory")
    request_bytes: int = Field(default=64, gt=0, description="of one access (its get_tx_bytes): 32 of an HBM3 channel")
    sent_a_cycle: int = Field(
        default=1, gt=0, description="what its front end may send in a cycle: its clock_ratio over the memory's"
    )
    sample_bytes: int = Field(default=1 << 20, ge=1 << 16, description="of the shorter trace")


class Run(NamedTuple):
    """Cycles of a run, and the requests that were served in them."""

    cycles: int
    served: int
    printed: str


class Ramulator2(Tool[Ramulator2Config]):
    """One memory, streamed through."""

    description = Description(
        name="ramulator2",
        kind="memory",
        version="2",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"read", "write", "copy"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="Ramulator 2.1, saturated once for its bandwidth (path of a program that runs a trace)",
    )

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        requests = -(-values[0] // self.config.request_bytes) * (2 if template.kind == "copy" else 1)
        cycles = self._latency() + requests * self._under_load(template.kind)
        return Estimate(max(1, round(cycles * self.config.tck_ps)), Provenance.MODELLED)

    def _under_load(self, kind: str) -> float:
        """Cycles of a request, where others are always waiting."""
        if kind not in self._known:
            size, asked = self.config.request_bytes, f"ramulator2, {kind}s under load"
            count = self.config.sample_bytes // size
            words = {"read": ("LD", "LD"), "write": ("ST", "ST"), "copy": ("LD", "ST")}[kind]
            if kind == "copy":
                lines = [f"{words[i % 2]} {i // 2 * size + FAR * (i % 2)}" for i in range(2 * count)]
            else:
                lines = [f"{words[0]} {i * size}" for i in range(2 * count)]
            short, long = (self._trace(asked, lines[: len(lines) // parts]) for parts in (2, 1))
            if long.served <= short.served or long.cycles <= short.cycles:
                raise ToolFailure(asked, "a trace twice as long was served no further", long.printed)
            rate = (long.served - short.served) / (long.cycles - short.cycles)
            self._check_saturated(asked, rate, len(lines) / long.cycles, long.printed)
            self._known[kind] = 1 / rate
        return self._known[kind]

    def _check_saturated(self, asked: str, rate: float, sent: float, printed: str) -> None:
        """``rate``: served a cycle; ``sent``: accepted a cycle."""
        own = self.config
        if sent > SATURATED * own.sent_a_cycle:
            raise ToolFailure(
                asked,
                f"the memory took {sent:.2f} requests a cycle of the {own.sent_a_cycle} that the front end sends: "
                "it is not saturated. Give its front end a higher clock_ratio, and sent_a_cycle",
                printed,
            )
        throughputs = re.findall(r"'total_throughput_MBps': ([0-9.eE+]+)", printed)
        counted = sum(map(float, throughputs)) * 1e6 * own.tck_ps / PS_PER_S  # bytes a cycle, by the tool's own account
        if throughputs and not 0.9 < counted / (rate * own.request_bytes) < 1.1:
            raise ToolFailure(
                asked,
                f"it counts {counted:.1f} bytes a cycle, {rate:.3f} requests of {own.request_bytes} bytes would be "
                f"{rate * own.request_bytes:.1f}: is request_bytes, or tck_ps, another?",
                printed,
            )

    def _latency(self) -> float:
        """Cycles of an isolated read."""
        if "latency" not in self._known:
            asked = "ramulator2, one read alone"
            for stores in PATIENCE:
                printed = self._trace(asked, ["LD 0", *[f"ST {FAR}"] * stores]).printed
                found = [float(text) for text in re.findall(r"'avg_read_latency': ([0-9.eE+]+)", printed)]
                if sum(found) > 0:
                    break
            else:
                raise ToolFailure(asked, f"the read had not ended when {PATIENCE[-1]} stores were sent", printed)
            self._known["latency"] = sum(found)  # of all channels but one there was no read: 0
        return self._known["latency"]

    def _trace(self, asked: str, lines: list[str]) -> Run:
        arguments = [part.format(trace="trace.txt") for part in self.config.arguments]
        printed = self._run(asked, arguments, {"trace.txt": "\n".join(lines) + "\n"}).printed
        loaded = only_number(printed, r"Loaded (\d+) lines", asked)
        if loaded != len(lines):
            raise ToolFailure(asked, f"it loaded {loaded} lines of {len(lines)}", printed)
        served = re.findall(r"'num_(?:read|write)_reqs_served': (\d+)", printed)
        if not served:
            raise ToolFailure(
                asked, "it does not say what was served (num_read_reqs_served): print all of Simulation.stats", printed
            )
        return Run(only_number(printed, r"'cycles': (\d+)", asked), sum(map(int, served)), printed)

"""``ramulator2``: Ramulator 2 (Luo et al., IEEE CAL 2023) as a memory, through its load-store traces.

`program` is anything that runs a trace of ``LD|ST address`` lines and prints Ramulator's statistics: a
few lines of Python around its bindings. A transfer is a trace of its own bytes, up to ``sample_bytes``;
what is longer goes on at the rate of that. Idle memory: transfers do not meet.
"""

from __future__ import annotations

from typing import ClassVar

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import Description, Feature, Provenance, Template, TimePolicy
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig, only_number

REQUEST_BYTES = 64


class Ramulator2Config(ToolConfig):
    """``arguments`` may name {trace}, a file of its scratch folder."""

    server_side: ClassVar[frozenset[str]] = frozenset({"arguments"})
    arguments: list[str] = ["{trace}"]
    tck_ps: int = Field(gt=0, description="clock period of the memory")
    sample_bytes: int = Field(default=1 << 20, ge=REQUEST_BYTES)


class Ramulator2(Tool[Ramulator2Config]):
    """One memory, streamed through."""

    description = Description(
        name="ramulator2",
        kind="memory",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"read", "write", "copy"}),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="Ramulator 2, a trace a transfer (path of a program that runs one)",
    )

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        wanted = max(1, -(-values[0] // REQUEST_BYTES)) * (2 if template.kind == "copy" else 1)
        requests = min(wanted, self.config.sample_bytes // REQUEST_BYTES)
        cycles = self._cycles(template.kind, requests) * wanted / requests
        return Estimate(max(1, round(cycles * self.config.tck_ps)), Provenance.MODELLED)

    def _cycles(self, kind: str, requests: int) -> float:
        if (kind, requests) not in self._known:
            words = {"read": ("LD", "LD"), "write": ("ST", "ST"), "copy": ("LD", "ST")}[kind]
            trace = "".join(f"{words[i % 2]} {i * REQUEST_BYTES}\n" for i in range(requests))
            asked = f"ramulator2, {kind} of {requests * REQUEST_BYTES} bytes"
            arguments = [part.format(trace="trace.txt") for part in self.config.arguments]
            printed = self._run(asked, arguments, {"trace.txt": trace}).printed
            loaded = only_number(printed, r"Loaded (\d+) lines", asked)
            done = only_number(printed, r"'total_num_read_requests': (\d+)", asked) if kind == "read" else requests
            if (loaded, done) != (requests, requests):
                raise ToolFailure(asked, f"it loaded {loaded} lines and served {done} requests of {requests}", printed)
            self._known[kind, requests] = only_number(printed, r"'cycles': (\d+)", asked)
        return self._known[kind, requests]

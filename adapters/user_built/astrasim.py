"""``astrasim``: collectives by ASTRA-sim 2's analytical network (Won et al., ISPASS 2023).

One run is one collective among its ranks alone, on an idle network. It ends with exit code 0 whether
its ranks finished or not, and takes 1 ns for a collective it does not know: only a run in which every
rank finished counts, of the four kinds it models.

A latency is paid for at every hop, and again by chunks that are not on their way together: so all chunks are, and the
latency of the configuration is that of the whole way.
"""

from __future__ import annotations

import json
import re
from typing import Literal

from metronome.hwmodels.base import Estimate
from metronome.hwmodels.interface import (
    PS_PER_NS,
    Description,
    Feature,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
)
from pydantic import Field

from ..tools.failure import ToolFailure
from .base import Tool, ToolConfig
from .chakra import KINDS, collective

FINISHED = re.compile(r"sys\[(\d+)\] finished, (\d+) cycles")  # a cycle is a ns
GIB = 2**30 / 1e9  # what it calls GB/s is GiB/s


class AstraSimConfig(ToolConfig):
    """`program` is AstraSim_Analytical_Congestion_Aware."""

    bandwidth_gb_s: float = Field(gt=0, description="per device and direction, decimal")
    latency_ns: float = Field(ge=0, description="of the way from device to device; a switch is two of its links")
    topology: Literal["switch", "ring", "fully-connected"] = "switch"
    algorithm: Literal["ring", "direct", "halvingDoubling"] = "ring"
    chunks: int = Field(default=4, ge=1, description="preferred-dataset-splits: a collective is so many smaller ones")
    active_chunks: int | None = Field(
        default=None, ge=1, description="of these, on their way at once (active-chunks-per-dimension); default: all"
    )
    endpoint_delay_ns: int = Field(default=10, ge=0)
    memory_gb_s: int = Field(default=3350, gt=0, description="local-mem-bw")


class AstraSim(Tool[AstraSimConfig]):
    """One level of devices."""

    description = Description(
        name="astrasim",
        kind="network",
        version="2",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset(KINDS),
        features=frozenset({Feature.PROGRESS}),
        max_batch_ops=64,
        summary="ASTRA-sim 2, analytical network: collectives alone (path of the built program)",
    )

    def check_template(self, template: Template) -> None:
        if int(template.attributes["participants"]) < 2:
            raise UnsupportedOperation(self.description.name, template, "fewer than 2 participants")

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        key = (template.kind, int(template.attributes["participants"]), max(1, values[0]))
        if key not in self._known:
            self._known[key] = self._cycles(*key)
        return Estimate(round(self._known[key] * PS_PER_NS), Provenance.MODELLED)

    def _cycles(self, kind: str, ranks: int, size: int) -> int:
        asked = f"astrasim, {kind} of {size} bytes among {ranks}"
        # A message of no bytes never ends: each chunk has one for each rank at least.
        size = max(size, ranks * self.config.chunks)
        inputs: dict[str, str | bytes] = {f"w.{rank}.et": collective(kind, size) for rank in range(ranks)}
        inputs |= {
            "system.json": self._system(),
            "network.yml": self._network(ranks),
            "memory.json": json.dumps({"memory-type": "NO_MEMORY_EXPANSION"}),
        }
        printed = self._run(
            asked,
            [
                "--workload-configuration=w",
                "--system-configuration=system.json",
                "--remote-memory-configuration=memory.json",
                "--network-configuration=network.yml",
            ],
            inputs,
        ).printed
        ends = {int(rank): int(cycles) for rank, cycles in FINISHED.findall(printed)}
        if set(ends) != set(range(ranks)):
            raise ToolFailure(asked, f"{len(ends)} of {ranks} ranks finished", printed)
        if min(ends.values()) <= 1:
            raise ToolFailure(asked, f"a rank took {min(ends.values())} ns: nothing was simulated", printed)
        return max(ends.values())

    def _system(self) -> str:
        own = self.config
        algorithms = {f"{kind.replace('_', '-')}-implementation": [own.algorithm] for kind in KINDS}
        return json.dumps(
            {
                "scheduling-policy": "LIFO",
                "endpoint-delay": own.endpoint_delay_ns,
                "active-chunks-per-dimension": own.active_chunks or own.chunks,
                "preferred-dataset-splits": own.chunks,
                **algorithms,
                "collective-optimization": "localBWAware",
                "local-mem-bw": own.memory_gb_s,
                "boost-mode": 0,
            }
        )

    def _network(self, ranks: int) -> str:
        name = {"switch": "Switch", "ring": "Ring", "fully-connected": "FullyConnected"}[self.config.topology]
        bandwidth = round(self.config.bandwidth_gb_s / GIB, 6)
        hops = 2 if self.config.topology == "switch" else 1
        return (
            f"topology: [ {name} ]\nnpus_count: [ {ranks} ]\nbandwidth: [ {bandwidth} ]\n"
            f"latency: [ {self.config.latency_ns / hops} ]\n"
        )

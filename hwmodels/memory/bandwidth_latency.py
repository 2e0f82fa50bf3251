"""``bandwidth-latency``: latency + bytes / bandwidth, one transfer after another (`Fifo`)."""

from __future__ import annotations

from pydantic import Field

from ..base import Config
from ..interface import PS_PER_NS, PS_PER_S, Description, Feature, Operation, TimePolicy
from .fifo import Fifo, moved, transferred


class BandwidthLatencyConfig(Config):
    """Bandwidth in decimal gigabytes a second, latency per transfer."""

    bandwidth_gb_s: float = Field(gt=0)
    latency_ns: float = Field(default=0, ge=0)
    energy_pj_per_bit: float | None = Field(default=None, ge=0)


class BandwidthLatency(Fifo[BandwidthLatencyConfig]):
    """A FIFO in front of one data path."""

    description = Description(
        name="bandwidth-latency",
        kind="memory",
        version="1",
        time_policy=TimePolicy.CONSERVATIVE,
        op_kinds=frozenset({"read", "write", "copy", "move", "load", "store"}),
        features=frozenset({Feature.SNAPSHOT, Feature.INSPECT}),
        summary="latency + bytes/bandwidth behind one first-come-first-served queue",
    )

    def transfer_ps(self, operation: Operation) -> int:
        size = sum(moved(self.kind(operation), operation.values))
        return max(
            1,
            round(self.config.latency_ns * PS_PER_NS + size / (self.config.bandwidth_gb_s * 1e9) * PS_PER_S),
        )

    def energy_pj(self, operation: Operation) -> int | None:
        energy = self.config.energy_pj_per_bit
        return None if energy is None else round(transferred(self.kind(operation), operation.values) * 8 * energy)

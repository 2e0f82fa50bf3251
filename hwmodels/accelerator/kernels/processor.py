"""A GPU as its kernels see it: the rates of one multiprocessor and of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...catalog.families import Chip

#: Bytes a multiprocessor keeps on their way from memory, and how long they are (s): two stages of a tile of
#: 128 x 128 by 64 in bf16; an assumed latency under load, the same for all memories.
BYTES_IN_FLIGHT = 65536
MEMORY_LATENCY_S = 0.8e-6


@dataclass(frozen=True, slots=True)
class Processor:
    """Rates of one device.

    Attributes:
        flops: peak dense FLOP/s by dtype. bandwidth: bytes/s of the memory.
        multiprocessors, shared_bytes (of each), cache_bytes (L2). clock: Hz.
    """

    flops: Mapping[str, float]
    bandwidth: float
    multiprocessors: int
    shared_bytes: int
    cache_bytes: float
    clock: float

    @classmethod
    def of(cls, chip: Chip, flops: Mapping[str, float], bandwidth: float) -> Processor:
        return cls(
            flops, bandwidth, chip.multiprocessors, chip.shared_kib * 1024, chip.l2_mib * 2**20, chip.clock_ghz * 1e9
        )

    def flops_each(self, dtype: str) -> float:
        """FLOP/s of one multiprocessor."""
        return self.flops[dtype] / self.multiprocessors

    def moved_each(self, flops: float) -> float:
        """Bytes/s of one multiprocessor that does so many FLOPs in 16 bits in the time of one byte."""
        return self.flops_each("bf16") / flops

    def memory(self, efficiency: float, busy: float) -> float:
        """Bytes/s from memory with ``busy`` multiprocessors asking (Little's law)."""
        return min(self.bandwidth * efficiency, busy * BYTES_IN_FLIGHT / MEMORY_LATENCY_S)

    def cache(self, flops: float, busy: float) -> float:
        """Bytes/s from the L2 cache, whose width follows the multiprocessors' rate, with ``busy`` of them asking."""
        return min(self.multiprocessors * self.moved_each(flops), busy * BYTES_IN_FLIGHT / MEMORY_LATENCY_S)

    def cached(self, a_cycle: float, busy: float) -> float:
        """Bytes/s from the L2 cache where each multiprocessor fetches so many ``a_cycle``, ``busy`` of them asking."""
        return min(self.multiprocessors * a_cycle * self.clock, busy * BYTES_IN_FLIGHT / MEMORY_LATENCY_S)

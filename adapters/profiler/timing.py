"""How long a kernel takes: the median of some runs after a few to warm up, with caches emptied before each."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

WARM_UP, LEAST, MOST = 2, 5, 20  # runs
ENOUGH_S = 0.1  # of measured time
FLUSH_BYTES = {"cpu": 32 << 20, "cuda": 256 << 20}  # more than the last-level cache of a device holds


class Clock:
    """Of one device: its own events on a CUDA or ROCm one (which PyTorch calls ``cuda``, too), else this machine's."""

    def __init__(self, torch: Any, device: str) -> None:
        self._torch, self._device = torch, device
        self._flush = torch.empty(FLUSH_BYTES[device], dtype=torch.int8, device=device)

    def time_us(self, run: Callable[[], object]) -> float:
        """Microseconds of one run."""
        for _ in range(WARM_UP):
            run()
        found: list[float] = []
        while len(found) < LEAST or (sum(found) < ENOUGH_S * 1e6 and len(found) < MOST):
            self._flush.zero_()
            found.append(self._on_device(run) if self._device == "cuda" else self._here(run))
        return median(found)

    def _here(self, run: Callable[[], object]) -> float:
        start = time.perf_counter_ns()
        run()
        return (time.perf_counter_ns() - start) / 1e3

    def _on_device(self, run: Callable[[], object]) -> float:
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) * 1e3

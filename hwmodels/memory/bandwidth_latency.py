"""``bandwidth-latency``: a memory that serves one transfer at a time, first come, first served.

A transfer takes latency + bytes / bandwidth and waits for the ones before it. Idle means back to
the initial state, so a single sequential user may ask it as an oracle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from ..base import Config, Model
from ..interface import (
    PS_PER_NS,
    PS_PER_S,
    Advanced,
    Completion,
    Description,
    Feature,
    LateOperation,
    Operation,
    Provenance,
    TimePolicy,
    check_operation,
)


class BandwidthLatencyConfig(Config):
    """Bandwidth in decimal gigabytes a second, latency per transfer."""

    bandwidth_gb_s: float = Field(gt=0)
    latency_ns: float = Field(default=0, ge=0)
    energy_pj_per_bit: float | None = Field(default=None, ge=0)


class BandwidthLatency(Model[BandwidthLatencyConfig]):
    """A FIFO in front of one data path."""

    description = Description(
        name="bandwidth-latency",
        kind="memory",
        version="1",
        time_policy=TimePolicy.CONSERVATIVE,
        op_kinds=frozenset({"read", "write", "copy", "move"}),
        features=frozenset({Feature.SNAPSHOT, Feature.INSPECT}),
        summary="latency + bytes/bandwidth behind one first-come-first-served queue",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._now_ps = 0
        self._free_ps = 0  # when the data path is free
        self._queue: deque[Completion] = deque()  # in finish order

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        for operation in sorted(operations, key=lambda o: (o.at_ps, o.microstep, o.op_id)):
            check_operation(operation, self.templates)
            if operation.at_ps < self._now_ps:
                raise LateOperation(operation, self._now_ps)
            start = max(operation.at_ps, self._free_ps)
            self._free_ps = start + self._transfer_ps(operation)
            energy = self.config.energy_pj_per_bit
            self._queue.append(
                Completion(
                    operation.op_id,
                    start,
                    self._free_ps,
                    Provenance.MODELLED,
                    None if energy is None else round(sum(operation.values) * 8 * energy),
                )
            )
        done: list[Completion] = []
        reached = grant_ps
        while self._queue and self._queue[0].finish_ps <= grant_ps:
            if done and stop_at_first_completion and self._queue[0].finish_ps > reached:
                break
            done.append(self._queue.popleft())
            if stop_at_first_completion:
                reached = done[-1].finish_ps
        self._now_ps = max(self._now_ps, reached)
        return Advanced(self._now_ps, tuple(done), self._queue[0].finish_ps if self._queue else None)

    def _transfer_ps(self, operation: Operation) -> int:
        # A copy reads and writes: the bytes cross the path twice.
        size = sum(operation.values) * (2 if self.templates[operation.template].kind == "copy" else 1)
        return max(
            1,
            round(self.config.latency_ns * PS_PER_NS + size / (self.config.bandwidth_gb_s * 1e9) * PS_PER_S),
        )

    def inspect(self) -> dict[str, Any]:
        return {
            "now_ps": self._now_ps,
            "free_ps": self._free_ps,
            "queue": [[c.op_id, c.start_ps, c.finish_ps] for c in self._queue],
        }

    def snapshot(self) -> dict[str, Any]:
        queue = [[c.op_id, c.start_ps, c.finish_ps, c.energy_pj] for c in self._queue]
        return {"now_ps": self._now_ps, "free_ps": self._free_ps, "queue": queue}

    def restore(self, state: dict[str, Any]) -> None:
        self._now_ps, self._free_ps = int(state["now_ps"]), int(state["free_ps"])
        self._queue = deque(
            Completion(int(op), int(start), int(finish), Provenance.MODELLED, None if e is None else int(e))
            for op, start, finish, e in state["queue"]
        )

"""A memory that serves one transfer at a time, first come, first served; what a transfer takes is a model's own.

Idle means back to the initial state, so a single sequential user may ask it as an oracle.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, TypeVar

from ..base import Config, Model
from ..interface import Advanced, Completion, LateOperation, Operation, Provenance, check_operation, in_order

C = TypeVar("C", bound=Config)


def moved(kind: str, values: tuple[int, ...]) -> tuple[int, int]:
    """Bytes read and written by an operation. A copy reads and writes: its bytes cross the path twice."""
    if kind == "move":
        return values[0], values[1]
    return (0 if kind in ("write", "store") else values[0]), (0 if kind in ("read", "load") else values[0])


def transferred(kind: str, values: tuple[int, ...]) -> int:
    """Bytes of an operation, those of a copy once."""
    return values[0] + (values[1] if kind == "move" else 0)


class Fifo(Model[C]):
    """A queue in front of one data path."""

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._now_ps = 0
        self._free_ps = 0  # when the data path is free
        self._queue: deque[Completion] = deque()  # in finish order

    @abstractmethod
    def transfer_ps(self, operation: Operation) -> int:
        """Time of one transfer alone."""

    def kind(self, operation: Operation) -> str:
        return self.templates[operation.template].kind

    def energy_pj(self, operation: Operation) -> int | None:
        """Energy of one transfer; None where it is not known."""
        return None

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        for operation in sorted(operations, key=in_order):
            check_operation(operation, self.templates)
            if operation.at_ps < self._now_ps:
                raise LateOperation(operation, self._now_ps)
            start = max(operation.at_ps, self._free_ps)
            self._free_ps = start + self.transfer_ps(operation)
            energy = self.energy_pj(operation)
            self._queue.append(Completion(operation.op_id, start, self._free_ps, Provenance.MODELLED, energy))
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

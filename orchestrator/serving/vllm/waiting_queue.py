"""Requests that wait to be admitted: first come first served, or by a policy's key."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

from ..interface import AdmissionPolicy
from .request_state import VllmRequestState


class WaitingQueue(Protocol):
    """vLLM's ``RequestQueue``."""

    def append(self, state: VllmRequestState, /) -> None:
        """A new arrival."""
        ...

    def prepend(self, state: VllmRequestState, /) -> None:
        """One that was preempted."""
        ...

    def peek(self) -> VllmRequestState: ...

    def pop_first(self) -> VllmRequestState: ...

    def remove(self, state: VllmRequestState, /) -> None: ...

    def ordered(self, states: list[VllmRequestState], /) -> list[VllmRequestState]:
        """Requests that wait for their K and V, in the order they are looked at."""
        ...

    def precedes(self, state: VllmRequestState, /) -> bool:
        """Whether its first is looked at before one that has waited for its K and V."""
        ...

    def __iter__(self) -> Iterator[VllmRequestState]: ...

    def __len__(self) -> int: ...


class FirstCome(deque[VllmRequestState]):
    """In order of arrival; who is preempted goes to the head."""

    prepend = deque.appendleft
    pop_first = deque.popleft

    def peek(self) -> VllmRequestState:
        return self[0]

    def ordered(self, states: list[VllmRequestState]) -> list[VllmRequestState]:
        return states

    def precedes(self, state: VllmRequestState) -> bool:
        return False


class ByKey:
    """In order of a policy's key, then of arrival; who is preempted takes the place its key gives it."""

    def __init__(self, policy: AdmissionPolicy) -> None:
        self._policy = policy
        self._rows: list[tuple[Any, int, VllmRequestState]] = []

    def append(self, state: VllmRequestState) -> None:
        insort(self._rows, self._row(state), key=lambda row: row[:2])

    prepend = append

    def _row(self, state: VllmRequestState) -> tuple[Any, int, VllmRequestState]:
        return self._policy.key(state), state.request.id, state

    def ordered(self, states: list[VllmRequestState]) -> list[VllmRequestState]:
        return sorted(states, key=lambda state: self._row(state)[:2])

    def precedes(self, state: VllmRequestState) -> bool:
        return bool(self._rows) and self._rows[0][:2] < self._row(state)[:2]

    def peek(self) -> VllmRequestState:
        return self._rows[0][2]

    def pop_first(self) -> VllmRequestState:
        return self._rows.pop(0)[2]

    def remove(self, state: VllmRequestState) -> None:
        self._rows = [row for row in self._rows if row[2] is not state]

    def __iter__(self) -> Iterator[VllmRequestState]:
        return (row[2] for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

"""A model with a clock that reacts: to operations, to answers at its ports, to timers of its own.

A subclass says what happens at a moment; windows, order and credits are done here. At one moment its timers come first,
then answers, then operations. Whatever it starts ends a picosecond later at the earliest.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any, TypeVar

from .base import Config, Model
from .interface import Advanced, Completion, Operation, Provenance
from .ports import Request

C = TypeVar("C", bound=Config)


class ReactiveModel(Model[C]):
    """Its ports are those of ``description``, which it may replace by one of its own while it is made."""

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.now_ps = 0
        self._timers: list[tuple[int, int, Any]] = []  # at, in which order, what; a completion, or the model's own
        self._order = self._next_request = 0
        self._back: deque[Completion] = deque()
        self._done: list[Completion] = []
        self._wanted: list[Request] = []
        self._asked: dict[int, tuple[str, Any]] = {}  # request -> port, what it is for
        self._free: dict[str, int] = {}  # credits left, by port
        self._latency: dict[str, int] = {}
        self._held: dict[str, deque[tuple[int, tuple[int, ...], Any]]] = {}  # for want of credits

    @abstractmethod
    def started(self, operation: Operation) -> None:
        """An operation has come, now."""

    def returned(self, what: Any, answer: Completion) -> None:
        """What was asked for as ``what`` is done, now."""

    def fired(self, what: Any) -> None:
        """A timer, now."""

    def later(self, at_ps: int, what: Any) -> None:
        """A timer; after now."""
        self._order += 1
        heappush(self._timers, (max(at_ps, self.now_ps + 1), self._order, what))

    def complete(self, op_id: int, start_ps: int, finish_ps: int, energy_pj: int | None = None) -> None:
        """That operation will be done then; after now."""
        finish_ps = max(finish_ps, self.now_ps + 1)
        self.later(finish_ps, Completion(op_id, start_ps, finish_ps, Provenance.MODELLED, energy_pj))

    def ask(self, port: str, template: int, values: tuple[int, ...], what: Any) -> None:
        """Have that done at a port, after the port's least latency; as soon as there is a credit for it."""
        if port not in self._free:
            ours = next(one for one in self.description.ports if one.name == port)
            self._free[port], self._held[port], self._latency[port] = ours.credits, deque(), ours.latency_ps
        if self._free[port] and not self._held[port]:
            self._want(port, template, values, what)
        else:
            self._held[port].append((template, values, what))

    def _want(self, port: str, template: int, values: tuple[int, ...], what: Any) -> None:
        self._free[port] -= 1
        number = self._next_request if self._asked else 0  # at rest it is as new
        self._asked[number] = (port, what)
        self._wanted.append(Request(port, template, values, number, self.now_ps + self._latency[port]))
        self._next_request = number + 1

    def answered(self, completions: Sequence[Completion]) -> None:
        self._back.extend(completions)

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        coming = deque(self.in_turn(operations, self.now_ps))
        timers, back, reached, after = self._timers, self._back, grant_ps, grant_ps + 1
        while True:
            at = timers[0][0] if timers else after
            if coming and coming[0].at_ps < at:
                at = coming[0].at_ps
            if back and back[0].finish_ps < at:
                at = back[0].finish_ps
            if stop_at_first_completion and self._done and at > self.now_ps:
                reached = self.now_ps
                break
            if at > grant_ps:
                break
            self.now_ps = at
            if timers and timers[0][0] == at:
                self._fire()
            while back and back[0].finish_ps == at:
                self._return(back.popleft())
            while coming and coming[0].at_ps == at:
                self.started(coming.popleft())
        if coming:
            self._keep(coming)
        self.now_ps = max(self.now_ps, reached)
        done, wanted = tuple(self._done), tuple(self._wanted)
        self._done, self._wanted = [], []
        return Advanced(self.now_ps, done, timers[0][0] if timers else None, wanted)

    def _fire(self) -> None:
        """All timers of now."""
        timers = self._timers
        while timers and timers[0][0] == self.now_ps:
            what = heappop(timers)[2]
            if isinstance(what, Completion):
                self._done.append(what)
            elif isinstance(what, Operation):
                self.started(what)
            else:
                self.fired(what)

    def _return(self, answer: Completion) -> None:
        port, what = self._asked.pop(answer.op_id)
        self._free[port] += 1
        self.returned(what, answer)
        if self._held[port] and self._free[port]:
            self._want(port, *self._held[port].popleft())

    def _keep(self, coming: deque[Operation]) -> None:
        """Operations of after the grant, or after where it has stopped: as timers."""
        for operation in coming:
            self._order += 1
            heappush(self._timers, (operation.at_ps, self._order, operation))

"""A component with a port that breaks a rule of ports on purpose, one each: what the checks are checked with.

It reads by asking: each 64 bytes are a request at its port ``mem``, in the next 64 bytes of memory. Without a fault it
keeps the contract.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metronome.hwmodels.base import Config
from metronome.hwmodels.interface import Advanced, Completion, Description, Feature, Operation, Template, TimePolicy
from metronome.hwmodels.ports import Port, Request
from metronome.hwmodels.reactive import ReactiveModel
from pydantic import Field

BYTES = 64
LOAD = Template(0, "load", "load")


class AskerConfig(Config):
    """``latency_ps`` and ``credits`` are its port's."""

    fault: str = ""
    latency_ps: int = Field(default=10_000, ge=0)
    credits: int = Field(default=4, gt=0)


class Asker(ReactiveModel[AskerConfig]):
    """A memory that has none of its own: one operation after another is asked for, and done when all of it is back."""

    description = Description(
        name="asker",
        kind="memory",
        version="1",
        time_policy=TimePolicy.CONSERVATIVE,
        op_kinds=frozenset({"read", "load"}),
        features=frozenset({Feature.PORTS}),
        summary="reads by asking at its port, 64 bytes at a time",
        ports=(Port("mem", "memory", (LOAD,)),),
    )

    def __init__(self, config: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        ports = (Port("mem", "memory", (LOAD,), self.config.latency_ps, self.config.credits),)
        self.description = replace(type(self).description, ports=ports)  # type: ignore[misc]
        self._queue: deque[Operation] = deque()
        self._since_ps = self._left = 0

    def started(self, operation: Operation) -> None:
        self._queue.append(operation)
        if len(self._queue) == 1:
            self._begin()

    def _begin(self) -> None:
        operation, self._since_ps = self._queue[0], self.now_ps
        self._left = max(1, -(-operation.values[0] // BYTES))
        for number in range(self._left):
            self.ask("mem", 0, (BYTES, number * BYTES), number)

    def returned(self, what: Any, answer: Completion) -> None:
        self._left -= self.config.fault != "forgets-an-answer" or what > 0
        if not self._left:
            self.complete(self._queue[0].op_id, self._since_ps, self.now_ps + 1)
            self.later(self.now_ps + 1, "next")

    def fired(self, what: Any) -> None:
        self._queue.popleft()
        if self._queue:
            self._begin()

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        answer = super().advance(grant_ps, operations, stop_at_first_completion)
        return replace(answer, requests=self._spoilt(list(answer.requests), answer.reached_ps))

    def _spoilt(self, asked: list[Request], reached_ps: int) -> tuple[Request, ...]:
        match self.config.fault if asked else "":
            case "asks-in-the-past":
                asked[0] = asked[0]._replace(at_ps=reached_ps - 1)
            case "asks-too-soon":
                asked[0] = asked[0]._replace(at_ps=max(reached_ps, asked[0].at_ps - 1))
            case "overdraws" if len(asked) == self.config.credits:
                asked.append(asked[-1]._replace(op_id=10_000_000))
            case "asks-twice":
                asked.append(asked[-1])
            case "asks-for-anything":
                asked[0] = asked[0]._replace(template=7)
            case "asks-anywhere":
                asked[0] = asked[0]._replace(port="net")
        return tuple(asked)

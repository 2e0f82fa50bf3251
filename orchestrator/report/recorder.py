"""What a run leaves behind while it runs: one row a step, one record a request.

Token times are not stored: a sequence knows in which steps its tokens came, a step log when each
step's tokens were delivered.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

from ..serving.batch import Batch
from ..serving.dispatcher import Dispatcher
from ..serving.engine import Engine, Role
from ..serving.kv.transfer import Handoff
from ..serving.request_state import RequestState
from ..serving.vllm.lanes import Chunk


@dataclass(slots=True)
class StepLog:
    """Columns of the steps of one lane of an engine; ``energy_pj`` as far as it is known.

    A step's tokens come out of the engine at ``end_ps`` and are with their clients at ``delivered_ps``.
    """

    end_ps: array[int] = field(default_factory=lambda: array("q"))
    delivered_ps: array[int] = field(default_factory=lambda: array("q"))
    prompt_tokens: array[int] = field(default_factory=lambda: array("q"))
    output_tokens: array[int] = field(default_factory=lambda: array("q"))
    running: array[int] = field(default_factory=lambda: array("q"))
    waiting: array[int] = field(default_factory=lambda: array("q"))
    kv_used: array[int] = field(default_factory=lambda: array("q"))
    energy_pj: array[int] = field(default_factory=lambda: array("q"))

    def trim(self) -> None:
        """Drop a last row that Ctrl-C has cut short."""
        columns: list[array[int]] = [getattr(self, column.name) for column in fields(self)]
        rows = min(map(len, columns))
        for column in columns:
            del column[rows:]


Progress = Callable[[int, int, int], None]  # simulated ps, requests done, tokens out


class Recorder:
    """Listens to the engines; keeps what the report needs, and tells frontend and handoff who has ended.

    ``logs`` has one step log a lane of each engine; ``lanes_of[engine number]`` says which are whose.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self.logs: list[StepLog] = []
        self.lanes_of: list[range] = []
        self.done: list[RequestState] = []  # as they end
        self.tokens = 0
        self._progress = progress
        self._steps = 0

    def add_engine(self, lanes: int) -> int:
        """Make the logs of one more engine; returns the number of the first."""
        first = len(self.logs)
        self.logs += [StepLog() for _ in range(lanes)]
        self.lanes_of.append(range(first, first + lanes))
        return first

    def attach(self, frontend: Dispatcher, handoff: Handoff | None) -> None:
        self._frontend, self._handoff = frontend, handoff

    def step_ended(
        self, engine: Engine, lane: int, batch: Batch, tokens: int, energy_pj: int, now_ps: int, delivered_ps: int
    ) -> None:
        log = self.logs[self.lanes_of[engine.number][lane]]
        scheduler = engine.scheduler
        log.end_ps.append(now_ps)
        log.delivered_ps.append(delivered_ps)
        log.prompt_tokens.append(sum(batch.prompts[::2]))
        log.output_tokens.append(tokens)
        waiting, running = engine.load
        log.running.append(running)
        log.waiting.append(waiting)
        log.kv_used.append(scheduler.pool.used)
        log.energy_pj.append(energy_pj)
        self.tokens += tokens
        self._steps += 1
        if self._progress and self._steps % 64 == 0:
            self._progress(now_ps, len(self.done), self.tokens)

    def request_ended(self, engine: Engine, sequence: RequestState) -> None:
        self.done.append(sequence)
        # Only its times are needed from here on.
        sequence.block_hashes = []
        self._frontend.request_ended(sequence.request, sequence.end_ps)

    def prompt_ended(self, engine: Engine, sequence: RequestState) -> None:
        if self._handoff is None:
            raise AssertionError("an engine hands over, but there is no handoff")
        self._handoff.prompt_ended(sequence)

    def layer_hook(self, engine: Engine, chunks: Iterable[Chunk]) -> Callable[[int], None] | None:
        if self._handoff is None or engine.role is not Role.PREFILL:
            return None
        return self._handoff.layer_hook(list(chunks))

    @property
    def steps(self) -> int:
        return sum(len(log.end_ps) for log in self.logs)

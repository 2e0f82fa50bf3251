"""What a run leaves behind while it runs: one row a step, one record a request.

Token times are not stored: a sequence knows in which steps its tokens came, a step log when each
step ended.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from ..serving.batch import Batch
from ..serving.engine import Engine
from ..serving.sequence import Sequence


@dataclass(slots=True)
class StepLog:
    """Columns of one engine's steps; ``energy_pj`` as far as it is known."""

    end_ps: array[int] = field(default_factory=lambda: array("q"))
    prompt_tokens: array[int] = field(default_factory=lambda: array("q"))
    output_tokens: array[int] = field(default_factory=lambda: array("q"))
    running: array[int] = field(default_factory=lambda: array("q"))
    waiting: array[int] = field(default_factory=lambda: array("q"))
    kv_used: array[int] = field(default_factory=lambda: array("q"))
    energy_pj: array[int] = field(default_factory=lambda: array("q"))


Progress = Callable[[int, int, int], None]  # simulated ps, requests done, tokens out


class Recorder:
    """Listens to the engines; keeps what the report needs."""

    def __init__(self, engines: int, progress: Progress | None = None) -> None:
        self.logs = [StepLog() for _ in range(engines)]
        self.done: list[tuple[int, Sequence]] = []  # (rank of the engine, sequence), as they end
        self.tokens = 0
        self._progress = progress
        self._steps = 0
        self.on_request_end: Callable[[Sequence], None] = lambda sequence: None

    def step_ended(self, engine: Engine, batch: Batch, energy_pj: int) -> None:
        log = self.logs[engine.rank]
        scheduler = engine.scheduler
        produced = scheduler.last_tokens
        log.end_ps.append(engine.now_ps)
        log.prompt_tokens.append(sum(batch.prompts[::2]))
        log.output_tokens.append(produced)
        waiting, running = engine.load
        log.running.append(running)
        log.waiting.append(waiting)
        log.kv_used.append(scheduler.pool.used)
        log.energy_pj.append(energy_pj)
        self.tokens += produced
        self._steps += 1
        if self._progress and self._steps % 64 == 0:
            self._progress(engine.now_ps, len(self.done), self.tokens)

    def request_ended(self, engine: Engine, sequence: Sequence) -> None:
        self.done.append((engine.rank, sequence))
        # Only its times are needed from here on.
        sequence.chain = []
        self.on_request_end(sequence)

    @property
    def steps(self) -> int:
        return sum(len(log.end_ps) for log in self.logs)

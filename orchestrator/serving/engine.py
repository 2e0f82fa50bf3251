"""One serving instance: takes arrivals between steps, schedules, executes, repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..errors import InputError
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..workload.request import Request
from .batch import Batch
from .engines import EngineModel
from .scheduler import Scheduler
from .sequence import Sequence


class StepRunner(Protocol):
    """Executes one step and calls back at its end with the energy it took (pJ, as far as known)."""

    def run(self, batch: Batch, done: Callable[[int], None]) -> None: ...


class StepListener(Protocol):
    """Is told of every step's end and every request's end."""

    def step_ended(self, engine: Engine, batch: Batch, energy_pj: int) -> None: ...

    def request_ended(self, engine: Engine, sequence: Sequence) -> None: ...


class Engine:
    """The loop of vLLM's engine core: drain arrivals, schedule, execute, hand out tokens.

    One step is in flight at a time; between two the device idles for the engine model's step gap.
    ``rank`` is the instance's place in the scenario.
    """

    def __init__(
        self,
        name: str,
        rank: int,
        kernel: Kernel,
        scheduler: Scheduler,
        listener: StepListener,
        max_model_len: int,
        model: EngineModel,
    ) -> None:
        self.name, self.rank, self.max_model_len = name, rank, max_model_len
        self.scheduler = scheduler
        self.runner: StepRunner | None = None
        self._kernel, self._listener, self._gap_ps = kernel, listener, model.step_gap_ps
        self._arrived: list[Sequence] = []
        self._busy = False
        self._batch: Batch | None = None

    @property
    def now_ps(self) -> int:
        return self._kernel.now_ps

    @property
    def load(self) -> tuple[int, int]:
        """(waiting, running) sequences, arrivals not yet drained among the waiting."""
        waiting, running = self.scheduler.load
        return waiting + len(self._arrived), running

    def submit(self, request: Request) -> None:
        """A request reaches this instance now; it is looked at when the step in flight ends.

        Raises InputError for one that could never be served.
        """
        self._check_fits(request)
        self._arrived.append(Sequence(request))
        self._wake()

    def _check_fits(self, request: Request) -> None:
        """A request too large for the empty instance would wait for ever: refuse it on arrival."""
        tokens = request.input_tokens + request.output_tokens
        block_size, blocks = self.scheduler.config.block_size, self.scheduler.pool.size
        need = -(-(tokens - 1) // block_size)  # the last token's K and V are never computed
        where = f"request {request.id}"
        if tokens > self.max_model_len:
            limit = f"instance {self.name} takes at most {self.max_model_len} (max_model_len)"
            raise InputError(where, "input + output tokens", tokens, limit)
        if need > blocks:
            limit = f"instance {self.name} has {blocks} blocks of {block_size} tokens"
            raise InputError(where, "KV blocks", need, limit)

    def _wake(self) -> None:
        if not self._busy:
            self._busy = True
            self._kernel.at(self._kernel.now_ps, Priority.DECISION, self.rank, self._step)

    def _step(self) -> None:
        now = self._kernel.now_ps
        for sequence in self._arrived:
            sequence.queued_ps = now
            self.scheduler.add(sequence)
        self._arrived.clear()
        self._batch = batch = self.scheduler.schedule(now)
        if batch is None or self.runner is None:
            self._busy = False
            return
        self.runner.run(batch, self._step_ended)

    def _step_ended(self, energy_pj: int) -> None:
        ended = self.scheduler.complete(self._kernel.now_ps)
        if self._batch is not None:
            self._listener.step_ended(self, self._batch, energy_pj)
        for sequence in ended:
            self._listener.request_ended(self, sequence)
        self._kernel.at(self._kernel.now_ps + self._gap_ps, Priority.DECISION, self.rank, self._step)

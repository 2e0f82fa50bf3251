"""The loop of vLLM's engine core: drain arrivals, schedule, execute, hand out tokens.

A loop drives one engine, or the data-parallel members of an expert-parallel instance, which must step
together: whoever has nothing to do computes a dummy batch, and all are padded to the largest, as vLLM
does, because every member takes part in every collective. ``lanes`` steps may be in flight at once
(pipeline stages, micro-batches).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from .batch import DUMMY, Batch
from .engine import Engine
from .engines import EngineModel
from .lanes import Chunk
from .sequence import Sequence as RequestState

LayerHook = Callable[[int], None]


class StepRunner(Protocol):
    """Executes one step of all members in a lane; calls back at its end with the energy it took (pJ).

    ``layer_done(n)`` is called when n of the model's layers are through, if it is given.
    """

    def run(
        self, lane: int, batches: Sequence[Batch], done: Callable[[int], None], layer_done: LayerHook | None
    ) -> None: ...


class StepListener(Protocol):
    """Is told of every step's end, every request's end, and every prompt computed for another engine."""

    def step_ended(self, engine: Engine, lane: int, batch: Batch, energy_pj: int, now_ps: int) -> None: ...

    def request_ended(self, engine: Engine, sequence: RequestState) -> None: ...

    def prompt_ended(self, engine: Engine, sequence: RequestState) -> None: ...

    def layer_hook(self, engine: Engine, chunks: Sequence[Chunk]) -> LayerHook | None:
        """Called before a step; what is to be told of its layers, if anything."""
        ...


class StepLoop:
    """``rank`` is the place of its instance among those of the scenario; ``runner`` is set before it starts."""

    runner: StepRunner

    def __init__(
        self,
        kernel: Kernel,
        rank: int,
        members: Sequence[Engine],
        lanes: int,
        listener: StepListener,
        model: EngineModel,
    ) -> None:
        self.members = members
        self._kernel, self._rank, self._listener, self._gap_ps = kernel, rank, listener, model.step_gap_ps
        self._free = list(range(lanes))
        self._woken = False
        for member in members:
            member.wake = self.wake

    def wake(self) -> None:
        """Something has changed: look for work if a lane is free."""
        if self._free and not self._woken:
            self._woken = True
            self._kernel.at(self._kernel.now_ps, Priority.DECISION, self._rank, self._step)

    def _step(self) -> None:
        self._woken = False
        now = self._kernel.now_ps
        for member in self.members:
            member.drain(now)
        while self._free:
            batches = [member.scheduler.schedule(now) for member in self.members]
            if not any(batches):
                return
            self._launch(self._free.pop(0), batches)

    def _launch(self, lane: int, batches: list[Batch | None]) -> None:
        tokens = max(batch.tokens for batch in batches if batch)
        full = [batch or DUMMY for batch in batches]
        if len(full) > 1:
            full = [batch.padded_to(tokens) for batch in full]
        hook = None
        if len(self.members) == 1:
            scheduler = self.members[0].scheduler
            hook = self._listener.layer_hook(self.members[0], scheduler.chunks)
        theirs = [member.scheduler.lane if batch else -1 for member, batch in zip(self.members, batches, strict=True)]
        self.runner.run(lane, full, partial(self._step_ended, lane, theirs, batches), hook)

    def _step_ended(self, lane: int, theirs: list[int], batches: list[Batch | None], energy_pj: int) -> None:
        now = self._kernel.now_ps
        for member, own, batch in zip(self.members, theirs, batches, strict=True):
            if batch is None:
                continue
            ended = member.scheduler.complete(now, own)
            self._listener.step_ended(member, own, batch, energy_pj, now)
            energy_pj = 0  # of the whole group: booked once
            for sequence in ended:
                self._listener.request_ended(member, sequence)
            for sequence in member.scheduler.handed_now:
                self._listener.prompt_ended(member, sequence)
        self._kernel.at(now + self._gap_ps, Priority.DECISION, self._rank, partial(self._lane_free, lane))

    def _lane_free(self, lane: int) -> None:
        self._free.append(lane)
        self._free.sort()
        self._step()

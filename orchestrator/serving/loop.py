"""The loop of vLLM's engine core: drain arrivals, schedule, execute, hand out tokens.

A loop drives one engine, or the data-parallel members of an expert-parallel instance, which must step
together: whoever has nothing to do computes a dummy batch, and all are padded to the largest, as vLLM
does, because every member takes part in every collective. ``lanes`` steps may be in flight at once
(pipeline stages, micro-batches).

With asynchronous scheduling (one lane) the next step is scheduled when one starts: its tokens are
counted on, arrivals up to then are in it, and it starts the moment the device is free. What ends with
a step therefore makes room only for the step after next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from .batch import DUMMY, Batch
from .engine import Engine
from .host_costs import HostCosts
from .request_state import RequestState
from .vllm.lanes import Chunk, Outcome

LayerHook = Callable[[int], None]


class StepRunner(Protocol):
    """Executes one step of all members, by ``number``; calls back at its end with the energy it took (pJ).

    ``layer_done(n)`` is called when n of the model's layers are through, if it is given. ``upcoming`` is
    the step after it, where that is known: it may be asked about in the same message.
    """

    def run(
        self,
        number: int,
        batches: Sequence[Batch],
        done: Callable[[int], None],
        layer_done: LayerHook | None,
        upcoming: Batch | None,
    ) -> None: ...


class StepListener(Protocol):
    """Is told of every step's end, every request's end, and every prompt computed for another engine."""

    def step_ended(
        self, engine: Engine, lane: int, batch: Batch, tokens: int, energy_pj: int, now_ps: int, delivered_ps: int
    ) -> None:
        """``delivered_ps``: when its tokens are at their clients."""
        ...

    def request_ended(self, engine: Engine, sequence: RequestState) -> None: ...

    def prompt_ended(self, engine: Engine, sequence: RequestState) -> None: ...

    def layer_hook(self, engine: Engine, chunks: Sequence[Chunk]) -> LayerHook | None:
        """Called before a step; what is to be told of its layers, if anything."""
        ...


class StepOnlooker(Protocol):
    """Is told of an instance's steps, by number, as they start and end; ``riders`` are the requests computed in it.

    Its operations start at ``starts_ps``, when its inputs are there.
    """

    def launched(self, step: int, now_ps: int, starts_ps: int, riders: Sequence[int]) -> None: ...

    def landed(self, step: int, now_ps: int, energy_pj: int) -> None: ...


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
        model: HostCosts,
    ) -> None:
        self.members = members
        self._kernel, self._rank, self._listener, self._model = kernel, rank, listener, model
        self._asynchronous = model.asynchronous and lanes == 1
        self._free = list(range(lanes))
        self._next: list[Batch | None] | None = None  # scheduled while another step is in flight
        self._last_end_ps = 0
        self._woken = False
        self.launched = 0  # steps so far: the number of the last
        self.onlooker: StepOnlooker | None = None
        for member in members:
            member.wake = self.wake

    def wake(self) -> None:
        """Something has changed: look for work if a lane is free."""
        if self._free and not self._woken:
            self._woken = True
            self._kernel.at(
                self._kernel.now_ps, Priority.DECISION, self._rank, "wake", self.members[0].number, self._step
            )

    def _step(self) -> None:
        self._woken = False
        while self._free:
            batches = self._next or self._schedule()
            self._next = None
            if batches is None:
                return
            self._launch(self._free.pop(0), batches)

    def _schedule(self) -> list[Batch | None] | None:
        """What each member does next, None if none has anything to do."""
        now = self._kernel.now_ps
        for member in self.members:
            member.drain(now)
        batches = [member.scheduler.schedule(now) for member in self.members]
        return batches if any(batches) else None

    def _launch(self, lane: int, batches: list[Batch | None]) -> None:
        full = [self._model.padded(batch or DUMMY) for batch in batches]
        if len(full) > 1:
            tokens = max(batch.tokens for batch in full)
            full = [batch.padded_to(tokens) for batch in full]
        hook = None
        if len(self.members) == 1:
            hook = self._listener.layer_hook(self.members[0], self.members[0].scheduler.chunks)
        flights = [
            Flight(member, member.scheduler.lane, batch)
            for member, batch in zip(self.members, batches, strict=True)
            if batch
        ]
        riders: list[int] = []
        if self.onlooker:  # before its tokens are counted on
            lanes = [flight.member.scheduler.lanes[flight.lane] for flight in flights]
            riders = [sequence.request.id for each in lanes for sequence in each.riders()]
        upcoming = None
        if self._asynchronous:
            for flight in flights:
                flight.outcome = flight.member.scheduler.settle(flight.lane)
            self._next = self._schedule()
            if self._next and self._next[0] and len(full) == 1:
                upcoming = self._model.padded(self._next[0])
        self.launched += 1
        starts = self._kernel.now_ps + self._model.inputs_ps(full, first=self.launched == 1)
        if self.onlooker:
            self.onlooker.launched(self.launched, self._kernel.now_ps, starts, riders)
        done = partial(self._step_ended, lane, self.launched, flights)
        run = partial(self.runner.run, self.launched, full, done, hook, upcoming)
        if starts > self._kernel.now_ps:
            self._kernel.at(starts, Priority.DECISION, self._rank, "inputs", lane, run)
        else:
            run()

    def _step_ended(self, lane: int, number: int, flights: list[Flight], energy_pj: int) -> None:
        now, spent_pj = self._kernel.now_ps, energy_pj
        for flight in flights:
            scheduler = flight.member.scheduler
            outcome = flight.outcome or scheduler.settle(flight.lane)
            delivered = flight.member.servers.deliver(outcome.tokens, now)
            ended = scheduler.finish(outcome, delivered)
            self._listener.step_ended(
                flight.member, flight.lane, flight.batch, outcome.tokens, energy_pj, now, delivered
            )
            energy_pj = 0  # of the whole group: booked once
            for sequence in ended:
                self._listener.request_ended(flight.member, sequence)
            for sequence in outcome.handed:
                self._listener.prompt_ended(flight.member, sequence)
        if self.onlooker:
            self.onlooker.landed(number, now, spent_pj)
        sequences = max(flight.batch.sequences for flight in flights)
        ready = self._model.next_start(now, self._last_end_ps, sequences)
        self._last_end_ps = now
        self._kernel.at(ready, Priority.DECISION, self._rank, "schedule", lane, partial(self._lane_free, lane))

    def _lane_free(self, lane: int) -> None:
        self._free.append(lane)
        self._free.sort()
        self._step()


@dataclass(slots=True)
class Flight:
    """A member's part of a step in flight; ``outcome`` once it has been counted on."""

    member: Engine
    lane: int
    batch: Batch
    outcome: Outcome | None = None

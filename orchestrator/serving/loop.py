"""The loop of vLLM's engine core: drain arrivals, schedule, execute, hand out tokens.

A loop drives one engine, or the data-parallel members of an expert-parallel instance, which must step
together: whoever has nothing to do computes a dummy batch, because every member takes part in every
collective, and all are padded to the largest where the engine does that. ``lanes`` steps may be in flight at once
(pipeline stages, micro-batches).

With asynchronous scheduling (one lane) the next step is scheduled when one starts: its tokens are
counted on, arrivals up to then are in it, and it starts the moment the device is free. What ends with
a step therefore makes room only for the step after next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from .batch import DUMMY, Batch
from .dispatcher import Dispatcher
from .hooks import ServingHooks
from .host_costs import HostCosts
from .interface import LayerHook, Step
from .replica import Replica

#: Of each member its step, if it has one, and what it computes then: with padding, or for nobody.
Scheduled = tuple[list[Step | None], list[Batch]]


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


class StepLoop:
    """Of the instance ``name``, whose place in the scenario is ``rank``; ``runner`` is set before it starts."""

    runner: StepRunner

    def __init__(
        self,
        kernel: Kernel,
        rank: int,
        name: str,
        members: Sequence[Replica],
        lanes: int,
        dispatcher: Dispatcher,
        model: HostCosts,
        hooks: ServingHooks,
    ) -> None:
        self.name, self.members = name, members
        self._kernel, self._rank, self._model = kernel, rank, model
        self._dispatcher, self._hooks = dispatcher, hooks
        self._asynchronous = model.asynchronous and lanes == 1
        self._free = list(range(lanes))
        self._next: Scheduled | None = None  # while another step is in flight
        self._waiting = [0] * len(members)  # of each, when a step was scheduled last
        self._last_end_ps = 0
        self._woken = False
        self._stopped = False
        self.launched = 0  # steps so far: the number of the last
        for member in members:
            member.wake = self.wake

    def wake(self) -> None:
        """Something has changed: look for work if a lane is free."""
        if self._free and not self._woken and not self._stopped:
            self._woken = True
            self._kernel.at(
                self._kernel.now_ps, Priority.DECISION, self._rank, "wake", self.members[0].number, self._step
            )

    def stop(self) -> None:
        """Its instance is not there: no step begins. What its devices are doing runs out, and counts for nobody."""
        self._stopped, self._next = True, None

    def start(self) -> None:
        """Its instance is there again."""
        self._stopped = False
        self.wake()

    def _step(self) -> None:
        self._woken = False
        while self._free and not self._stopped:
            scheduled = self._next or self._schedule(self.launched + 1)
            self._next = None
            if scheduled is None:
                return
            self._launch(self._free.pop(0), *scheduled)

    def _schedule(self, number: int) -> Scheduled | None:
        """What each member does next, which will be step ``number``; None if none has anything to do."""
        now = self._kernel.now_ps
        steps = [member.engine.schedule(now) for member in self.members]
        if self._hooks.scheduled.listeners:
            self._hooks.scheduled(self.name, number, self.members, steps, now)
        if len(self.members) > 1:
            self._waiting = [member.engine.load[0] for member in self.members]
        if not any(steps):
            return None
        return steps, self._model.together([step.batch if step else DUMMY for step in steps])

    def _launch(self, lane: int, steps: list[Step | None], full: list[Batch]) -> None:
        flights = [(member, step) for member, step in zip(self.members, steps, strict=True) if step]
        hook = None
        connector = self._dispatcher.connector
        if len(self.members) == 1 and connector is not None:
            hook = connector.layer_hook(flights[0][1])
        told, members = self._hooks.step_launched, []
        if told.listeners:  # before its tokens are counted on
            members = [state.request.id for _, step in flights for state in step.members()]
        upcoming = None
        if self._asynchronous:
            for member, step in flights:
                member.engine.settle(step)
            self._next = self._schedule(self.launched + 2)
            if self._next and len(full) == 1:
                upcoming = self._next[1][0]
        self.launched += 1
        starts = self._kernel.now_ps + self._model.inputs_ps(full, first=self.launched == 1)
        if told.listeners:
            told(self.name, self.launched, self._kernel.now_ps, starts, members)
        done = partial(self._step_ended, lane, self.launched, flights)
        run = partial(self.runner.run, self.launched, full, done, hook, upcoming)
        if starts > self._kernel.now_ps:
            self._kernel.at(starts, Priority.DECISION, self._rank, "inputs", lane, run)
        else:
            run()

    def _step_ended(self, lane: int, number: int, flights: list[tuple[Replica, Step]], energy_pj: int) -> None:
        now, spent_pj = self._kernel.now_ps, energy_pj
        for member, step in flights:
            if not self._asynchronous:
                member.engine.settle(step)
            delivered = member.servers.deliver(step.tokens, now)
            member.engine.finish(step, delivered)
            self._hooks.engine_stepped(member, step, energy_pj, now, delivered)
            energy_pj = 0  # of the whole group: booked once
            for state in step.ended:
                self._dispatcher.request_ended(state)
            for state in step.handed:
                self._dispatcher.prompt_computed(state)
        if len(self.members) > 1:  # of ranks that do not step together vLLM 0.19 tells nothing (`v1/engine/core.py`)
            for member, waiting in zip(self.members, self._waiting, strict=True):
                self._dispatcher.counted(member, number, (waiting, member.engine.load[1]))
        if self._hooks.step_landed.listeners:
            self._hooks.step_landed(self.name, number, now, spent_pj)
        sequences = max(step.batch.sequences for _, step in flights)
        ready = self._model.next_start(now, self._last_end_ps, sequences)
        self._last_end_ps = now
        self._kernel.at(ready, Priority.DECISION, self._rank, "schedule", lane, partial(self._lane_free, lane))

    def _lane_free(self, lane: int) -> None:
        self._free.append(lane)
        self._free.sort()
        self._step()

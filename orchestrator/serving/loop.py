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

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from .batch import DUMMY, Batch
from .dispatcher import Dispatcher
from .hooks import LeaptSteps, ServingHooks
from .host_costs import HostCosts
from .interface import LayerHook, Leaping, Step
from .leap import LEAST, MOST, Leap, StepCosts
from .replica import Replica

#: Of each member its step, if it has one, and what it computes then: with padding, or for nobody.
Scheduled = tuple[list[Step | None], list[Batch]]


class StepRunner(Protocol):
    """Executes one step of all members, by ``number``; calls back at its end with the energy it took (pJ).

    ``layer_done(n)`` is called when n of the model's layers are through, if it is given. ``upcoming`` is
    the step after it, where that is known: it may be asked about in the same message.

    ``ahead`` says what such a step and those after it take, ``count`` in all: the same requests decode, of members that
    are ``growing``; others compute the same again for nobody. None where it hangs on more than their shapes.
    ``rank`` is that of the event at a step's end.
    """

    rank: int

    def ahead(self, first: Sequence[Batch], growing: Sequence[bool], count: int) -> StepCosts | None: ...

    def run(
        self,
        number: int,
        batches: Sequence[Batch],
        done: Callable[[int], None],
        layer_done: LayerHook | None,
        upcoming: Batch | None,
    ) -> None: ...


class StepLoop:
    """Of the instance ``name``, whose place in the scenario is ``rank``; ``runner`` is set before it starts.

    Attributes:
        asynchronous: a step is scheduled while one is in flight.
        graph_sizes: tokens of the decode steps that have a captured graph, ascending.
    """

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
        self.asynchronous = model.asynchronous and lanes == 1
        self.graph_sizes = model.graph_sizes
        self._lanes, self._free = lanes, list(range(lanes))
        self._preemptions = 0
        self._next: Scheduled | None = None  # while another step is in flight
        self._waiting = [0] * len(members)  # of each, when a step was scheduled last
        self._counted: list[tuple[int, int]] = []  # of each, when a step had ended last
        # Of ranks that do not step together vLLM 0.19 tells nothing, 0.33 does (`v1/engine/core.py`).
        self._tells = len(members) > 1 or model.server.counts_in_flight
        self._last_end_ps = 0
        self._woken = False
        self._stopped = False
        self.launched = 0  # steps so far: the number of the last
        self.leaps = False  # whether steps in which nothing can change are done at once
        self._leap: Leap | None = None
        self._reach, self._pace_ps = LEAST, 0
        engines = [member.engine for member in members if lanes == 1 and isinstance(member.engine, Leaping)]
        self._leaping = engines if len(engines) == len(members) else []
        for engine in self._leaping:
            engine.looked_at, engine.changing = self.catch_up, self.cut
        for member in members:
            member.wake, member.catch_up = self.wake, self.catch_up

    def wake(self) -> None:
        """Something has changed: look for work if a lane is free."""
        if self._free and not self._woken and not self._stopped:
            self._woken = True
            self._kernel.at(
                self._kernel.now_ps, Priority.DECISION, self._rank, "wake", self.members[0].number, self._step
            )

    def stop(self) -> None:
        """Its instance is not there: no step begins. What its devices are doing runs out, and counts for nobody."""
        self.cut()
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
                if len(self._free) == self._lanes and self._preempted():
                    continue  # in vLLM a step of nobody; now those who wait are looked at
                for member in self.members:
                    self._hooks.engine_idle(member, self._kernel.now_ps)
                return
            self._launch(self._free.pop(0), *scheduled)

    def _preempted(self) -> bool:
        """Whether anybody was since this was asked last."""
        before, self._preemptions = self._preemptions, sum(one.engine.counts.preemptions for one in self.members)
        return before != self._preemptions

    def _schedule(self, number: int) -> Scheduled | None:
        """What each member does next, which will be step ``number``; None if none has anything to do."""
        now = self._kernel.now_ps
        steps = [member.engine.schedule(now) for member in self.members]
        if self._hooks.scheduled.listeners:
            self._hooks.scheduled(self.name, number, self.members, steps, now)
        if self._tells:
            self._waiting = [member.engine.load[0] for member in self.members]
        if not any(steps):
            return None
        return steps, self._model.together([step.batch if step else DUMMY for step in steps])

    def _launch(self, lane: int, steps: list[Step | None], full: list[Batch]) -> None:
        flights = self._flights(steps)
        hook = None
        connector = self._dispatcher.connector
        if len(self.members) == 1 and connector is not None:
            hook = connector.layer_hook(flights[0][1])
        told, members = self._hooks.step_launched, []
        if told.listeners:  # before its tokens are counted on
            members = [state.request.id for _, step in flights for state in step.members()]
        upcoming = None
        if self.asynchronous:
            for member, step in flights:
                member.engine.settle(step)
            self._next = self._schedule(self.launched + 2)
            if self._next and len(full) == 1:
                upcoming = self._next[1][0]
        self.launched += 1
        starts = self._kernel.now_ps + self._model.inputs_ps(full, first=self.launched == 1)
        if told.listeners:
            told(self.name, self.launched, self._kernel.now_ps, starts, members)
        if self.leaps and hook is None and starts == self._kernel.now_ps and self._begin_leap(lane, steps, full):
            return
        done: Callable[[int], None] = partial(self._step_ended, lane, self.launched, flights)
        moves = [step.moves for _, step in flights if step.moves is not None and step.moves.waits]
        for waiting in moves:
            done = partial(waiting.end, done)
        run: Callable[[], None] = partial(self.runner.run, self.launched, full, done, hook, upcoming)
        for waiting in moves:
            run = partial(waiting.begin, run)
        if starts > self._kernel.now_ps:
            self._kernel.at(starts, Priority.DECISION, self._rank, "inputs", lane, run)
        else:
            run()

    def _flights(self, steps: Sequence[Step | None]) -> list[tuple[Replica, Step]]:
        """Those members that have a step."""
        return [(member, step) for member, step in zip(self.members, steps, strict=True) if step]

    def _step_ended(self, lane: int, number: int, flights: list[tuple[Replica, Step]], energy_pj: int) -> None:
        self._end(lane, number, flights, energy_pj, self._kernel.now_ps)

    def _end(self, lane: int, number: int, flights: list[tuple[Replica, Step]], energy_pj: int, now: int) -> None:
        spent_pj = energy_pj
        for member, step in flights:
            if not self.asynchronous:
                member.engine.settle(step)
            delivered = member.servers.deliver(step.tokens, now)
            member.engine.finish(step, delivered)
            self._hooks.engine_stepped(member, step, energy_pj, now, delivered)
            energy_pj = 0  # of the whole group: booked once
            for state in step.ended:
                self._dispatcher.request_ended(state)
            for state in step.handed:
                self._dispatcher.prompt_computed(state)
        if self._tells:
            self._counted, lockstep = self._counts(), len(self.members) > 1
            for member, counts in zip(self.members, self._counted, strict=True):
                self._dispatcher.counted(member, number, counts, lockstep)
        if self._hooks.step_landed.listeners:
            self._hooks.step_landed(self.name, number, now, spent_pj)
        sequences = max(step.batch.sequences for _, step in flights)
        ready = self._model.next_start(now, self._last_end_ps, sequences)
        self._pace_ps = now - self._last_end_ps
        self._last_end_ps = now
        self._kernel.at(ready, Priority.DECISION, self._rank, "schedule", lane, partial(self._lane_free, lane))

    def _lane_free(self, lane: int) -> None:
        self._free.append(lane)
        self._free.sort()
        self._step()

    @property
    def leapt_ps(self) -> int | None:
        """While it leaps, up to when its steps are told of; else None."""
        return None if self._leap is None else self._last_end_ps

    # Leaps (`leap.py`) -----------------------------------------------------------------------------

    def _begin_leap(self, lane: int, steps: list[Step | None], first: list[Batch]) -> bool:
        """Do the step that is launched now and all that are certain after it at once, if there are any."""
        if not self._leaping or self._kernel.told.listeners or not self._hooks.in_columns():
            return False
        upcoming: list[Step | None] = [None] * len(steps)
        if self._next:
            upcoming = self._next[0]
        if not self._goes_on(steps, upcoming):
            return False
        more = self._likely()
        for engine, step in zip(self._leaping, steps, strict=True):
            if step is not None:
                more = engine.certain_steps(step, more)
        costs = self.runner.ahead(first, [step is not None for step in steps], more + 1) if more else None
        if costs is None or not all(costs.durations_ps):
            return False
        kernel, sequences = self._kernel, max(step.batch.sequences for step in steps if step)
        ends, starts = self._model.in_a_row(kernel.now_ps, self._last_end_ps, costs.durations_ps, sequences)
        event = kernel.queue.inserted
        kernel.at(ends[-1], Priority.COMPLETION, self.runner.rank, "compute", self.launched + more, self._leap_ended)
        self._leap = Leap(lane, steps, upcoming, costs, ends, starts, event)
        return True

    def _goes_on(self, steps: list[Step | None], upcoming: list[Step | None]) -> bool:
        """Whether every member does again what it does, one token on, and has nothing new to tell of itself."""
        if self.asynchronous and not self._next:  # all of it were given up while it was scheduled
            return False
        for member, step, then in zip(self.members, steps, upcoming, strict=True):
            if step is None:
                if then is not None or member.engine.load != (0, 0):
                    return False
            elif self.asynchronous and (then is None or then.batch != step.batch.later(1)):  # somebody joins
                return False
        return not self._tells or self._counted == self._counts()

    def _counts(self) -> list[tuple[int, int]]:
        """Of each member, who waited when a step was scheduled last, and who runs."""
        both = zip(self.members, self._waiting, strict=True)
        return [(waiting, member.engine.load[1]) for member, waiting in both]

    def _likely(self) -> int:
        """How many steps may be certain before somebody interferes: answers to what then never happens are wasted."""
        coming, pace = self._dispatcher.next_arrival_ps - self._kernel.now_ps, self._pace_ps
        if coming <= 0 or not pace:
            return self._reach
        return min(self._reach, 1 + coming * self._dispatcher.replica_count // (pace * len(self.members)))

    def catch_up(self) -> None:
        """Do what steps of a leap have done up to now."""
        if (leap := self._leap) is None:
            return
        kernel, last = self._kernel, len(leap.ends_ps) - 1
        done = bisect_left(leap.starts_ps, kernel.now_ps, leap.done, last)
        if done < last and kernel.passed(leap.starts_ps[done], Priority.DECISION, self._rank):
            done += 1
        self._take(leap, done)
        if done < last and kernel.passed(leap.ends_ps[done], Priority.COMPLETION, self.runner.rank):
            self._leave(leap)  # between two steps
            kernel.events += leap.costs.events
            flights, energy = self._flights(leap.flight), leap.costs.energies_pj[done]
            self._end(leap.lane, self.launched, flights, energy, leap.ends_ps[done])

    def cut(self) -> None:
        """Something is about to change: the step in flight is one like any other, and nothing is known after it."""
        self.catch_up()
        if (leap := self._leap) is None:
            return
        self._leave(leap)
        energy = leap.costs.energies_pj[leap.done]
        ended = partial(self._step_ended, leap.lane, self.launched, self._flights(leap.flight), energy)
        self._kernel.events += leap.costs.events - 1
        self._kernel.at(leap.ends_ps[leap.done], Priority.COMPLETION, self.runner.rank, "compute", self.launched, ended)

    def _leap_ended(self) -> None:
        if (leap := self._leap) is None:
            raise AssertionError("a leap that was cut has no event")
        last = len(leap.ends_ps) - 1
        self._take(leap, last)
        self._leap, self._reach = None, min(2 * self._reach, MOST)
        self._come_back(leap)
        self._kernel.events += leap.costs.events - 1
        self._step_ended(leap.lane, self.launched, self._flights(leap.flight), leap.costs.energies_pj[last])

    def _take(self, leap: Leap, done: int) -> None:
        """Steps up to that one have ended, and the next has started."""
        first, count = leap.done, done - leap.done
        if count <= 0:
            return
        leap.done, ends, energies = done, leap.ends_ps[first:done], leap.costs.energies_pj[first:done]
        both = enumerate(zip(self.members, leap.flight, strict=True))
        told = [(place, member, step) for place, (member, step) in both if step]
        tokens = {place: step.batch.sequences for place, _, step in told}
        delivered = self.members[0].servers.deliver_each(tokens, ends)
        leap.costs.use(first, ends)
        for place, member, step in told:
            slot = step.slot
            found = self._leaping[place].leap(step, leap.upcoming[place], count)
            leap.flight[place], leap.upcoming[place], used, cached = found
            columns = LeaptSteps(slot, tokens[place], ends, delivered[place], used, energies, cached)
            self._hooks.engine_leapt(member, columns)
            energies = [0] * count  # of the whole group: booked once
        self.launched += count
        self._last_end_ps = ends[-1]
        self._kernel.events += (leap.costs.events + 1) * count

    def _leave(self, leap: Leap) -> None:
        """It ends before its event."""
        self._kernel.queue.withdraw(leap.event)
        self._leap, self._reach = None, min(max(LEAST, 2 * leap.done), MOST)
        self._come_back(leap)

    def _come_back(self, leap: Leap) -> None:
        """What is in flight is a step like any other."""
        leap.costs.use(leap.done, leap.ends_ps[leap.done : leap.done + 1])
        if any(leap.upcoming):
            batches = [step.batch if step else DUMMY for step in leap.upcoming]
            self._next = leap.upcoming, self._model.together(batches)

"""One workload through both schedulers, step by step."""

from __future__ import annotations

from array import array
from typing import Any

from metronome.adapters.vllm import RealScheduler
from metronome.orchestrator.serving.kv.groups import KvGroup
from metronome.orchestrator.serving.policies import Priority
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.serving.vllm.lanes import VllmStep
from metronome.orchestrator.serving.vllm.request_state import VllmRequestState
from metronome.orchestrator.serving.vllm.scheduler import Scheduler
from metronome.orchestrator.workload.request import Request

from .workloads import Job, Workload, smaller

ROUNDS = 5000


class Theirs:
    def __init__(self, real: RealScheduler, workload: Workload) -> None:
        self._real = real
        self.absent: list[str] = real.ask("open", workload.flags)  # flags that this version has not
        self._jobs = {job.id: job for job in workload.jobs}
        self._given = dict.fromkeys(self._jobs, 0)

    def add(self, job: Job) -> None:
        self._real.ask("add", job.id, job.ids[: job.inputs], job.outputs, job.priority)

    def schedule(self) -> tuple[Any, Any]:
        number, batch, *rest = self._real.ask("schedule")
        if not batch:
            self._real.ask("update", number, {})
            number = None
        return number, [sorted(batch), *rest]

    def update(self, number: int) -> Any:
        """Tokens beyond the last belong to requests preempted with one on its way, and are not looked at."""
        tokens = {}
        for id, job in self._jobs.items():
            place = job.inputs + self._given[id]
            tokens[str(id)] = job.ids[place] if place < len(job.ids) else 0
        gave, *rest = self._real.ask("update", number, tokens)
        for id in gave:
            self._given[id] += 1
        return [gave, *rest]

    def abort(self, job: Job) -> None:
        self._real.ask("abort", job.id)


class Ours:
    def __init__(self, workload: Workload, absent: list[str]) -> None:
        flags = {**workload.flags, **dict.fromkeys(absent, False)}
        names = SchedulerConfig.__dataclass_fields__
        config = SchedulerConfig(**{name: value for name, value in flags.items() if name in names})
        policy = Priority() if flags["policy"] == "priority" else None
        self._asynchronous = flags["async_scheduling"]
        lanes = 1 if self._asynchronous else workload.steps
        groups = [KvGroup(window, chunk) for window, chunk in flags["kv_groups"]]
        blocks = flags["num_gpu_blocks"] - 1
        self.scheduler = Scheduler(config, blocks, lanes, admission=policy, victims=policy, groups=groups)
        self._states: dict[int, VllmRequestState] = {}
        self._last: VllmStep | None = None
        self._time = 0

    def add(self, job: Job) -> None:
        self._time += 1
        request = Request(job.id, self._time, job.inputs, job.outputs, array("q", job.ids), priority=job.priority)
        state = self._states[job.id] = VllmRequestState(request)
        self.scheduler.waiting.append(state)

    def schedule(self) -> tuple[Any, Any]:
        if self._last is not None and self._asynchronous:
            self.scheduler.settle(self._last)
            self._last = None
        before = {id: state.num_preemptions for id, state in self._states.items()}
        step = self.scheduler.schedule(self._time)
        batch = []
        if step is not None:
            self._last = step
            decoders = step.lane.decoders
            batch = [[s.request.id, 1, decoders.context(s)] for s in decoders.members()]
            batch += [[chunk.state.request.id, chunk.tokens, chunk.end - chunk.tokens] for chunk in step.lane.chunks]
        preempted = [id for id, state in self._states.items() if state.num_preemptions > before[id]]
        return step, [sorted(batch), sorted(preempted), *self._state()]

    def update(self, step: VllmStep) -> Any:
        if self._last is step or not self._asynchronous:
            self.scheduler.settle(step)
            self._last = None
        self.scheduler.finish(step)
        ended = [state.request.id for state in step.ended if not state.aborted]
        return [sorted(ended), *self._state()]

    def abort(self, job: Job) -> None:
        state = self._states[job.id]
        if state in self.scheduler.waiting or state in self.scheduler.running.values():
            self.scheduler.abort(state)

    def _state(self) -> list[Any]:
        scheduler = self.scheduler
        running = [state.request.id for state in scheduler.running.values()]
        return [scheduler.pool.free, scheduler.pool.cached, [state.request.id for state in scheduler.waiting], running]


def play(real: RealScheduler, workload: Workload) -> str:
    """Where the two differ first, in words; empty if they never do."""
    theirs = Theirs(real, workload)
    ours = Ours(workload, theirs.absent)
    flights: list[tuple[Any, Any]] = []
    left = max(job.comes for job in workload.jobs)
    for round in range(ROUNDS):
        for job in workload.jobs:
            if job.comes == round:
                theirs.add(job)
                ours.add(job)
            if job.goes == round:
                theirs.abort(job)
                ours.abort(job)
        (their_step, expected), (our_step, got) = theirs.schedule(), ours.schedule()
        if difference := compare(f"round {round}, schedule", ("batch", "preempted", *STATE), expected, got):
            return difference
        if their_step is not None:
            flights.append((their_step, our_step))
        if flights and (their_step is None or len(flights) == workload.steps):
            their_step, our_step = flights.pop(0)
            (_, *expected), got = theirs.update(their_step), ours.update(our_step)
            if difference := compare(f"round {round}, update", ("ended", *STATE), expected, got):
                return difference
        if not flights and round >= left and not expected[-1] and not expected[-2]:
            return ""
    return f"not done after {ROUNDS} rounds"


STATE = ("free blocks", "names that can be found", "waiting", "running")


def compare(where: str, names: tuple[str, ...], expected: list[Any], got: list[Any]) -> str:
    for name, theirs, ours in zip(names, expected, got, strict=True):
        if theirs != ours:
            return f"{where}: {name}: vLLM {theirs}, ours {ours}"
    return ""


def shrunk(real: RealScheduler, workload: Workload) -> tuple[Workload, str]:
    """A smallest workload that still differs, and where."""
    why = play(real, workload)
    while True:
        for candidate in smaller(workload):
            if found := play(real, candidate):
                workload, why = candidate, found
                break
        else:
            return workload, why

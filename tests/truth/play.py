"""One workload through both schedulers, step by step."""

from __future__ import annotations

from array import array
from collections import deque
from typing import Any

from metronome.adapters.vllm import RealScheduler
from metronome.orchestrator.serving.coordinator import Coordinator, FlightCounting, FrontEnd
from metronome.orchestrator.serving.kv.groups import KvGroup
from metronome.orchestrator.serving.offloading import RecallingConnector
from metronome.orchestrator.serving.policies import Priority
from metronome.orchestrator.serving.request_state import RequestState
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.serving.vllm.lanes import VllmStep
from metronome.orchestrator.serving.vllm.recalls import RecallingScheduler
from metronome.orchestrator.serving.vllm.request_state import VllmRequestState
from metronome.orchestrator.serving.vllm.rules import V33, Rules, rules_of
from metronome.orchestrator.serving.vllm.scheduler import Scheduler
from metronome.orchestrator.workload.request import Image, Request

from .workloads import RANKS, Balance, Job, Workload, draw, draw_balance, smaller

ROUNDS = 5000


class Theirs:
    def __init__(self, real: RealScheduler, workload: Workload) -> None:
        self._real = real
        flags = {**workload.flags, "role": workload.role}
        self.absent: list[str] = real.ask("open", flags)  # flags that this version has not
        self._decodes, self._recalls = workload.role in ("decode", "recall"), workload.role == "recall"
        self._jobs = {job.id: job for job in workload.jobs}
        self._given = dict.fromkeys(self._jobs, 0)

    def add(self, job: Job) -> None:
        remote = job.kept if self._recalls else self._decodes and job.moves > 0
        self._real.ask("add", job.id, job.ids[: job.inputs], job.outputs, job.priority, remote, job.images)

    def schedule(self, moved: list[int]) -> tuple[Any, Any]:
        """With a step that is empty the worker tells whose K and V have ``moved``."""
        number, batch, *rest = self._real.ask("schedule")
        if not batch:
            self._real.ask("update", number, {}, *self._ways(moved))
            number = None
        return number, [sorted(batch), *rest]

    def _ways(self, moved: list[int]) -> tuple[list[int], list[int]]:
        """(arrived, left)."""
        return (moved, []) if self._decodes else ([], moved)

    def update(self, number: int, moved: list[int]) -> Any:
        """Tokens beyond the last belong to requests preempted with one on its way, and are not looked at."""
        tokens = {}
        for id, job in self._jobs.items():
            place = job.inputs + self._given[id]
            tokens[str(id)] = job.ids[place] if place < len(job.ids) else 0
        gave, *rest = self._real.ask("update", number, tokens, *self._ways(moved))
        for id in gave:
            self._given[id] += 1
        return [gave, *rest]

    def abort(self, job: Job) -> None:
        self._real.ask("abort", job.id)


class Ours:
    def __init__(self, workload: Workload, absent: list[str], rules: Rules) -> None:
        flags = {**workload.flags, **dict.fromkeys(absent, False)}
        names = SchedulerConfig.__dataclass_fields__
        config = SchedulerConfig(**{name: value for name, value in flags.items() if name in names})
        policy = Priority() if flags["policy"] == "priority" else None
        lanes = 1 if flags["async_scheduling"] and not staggered(workload, rules) else workload.steps
        self._role, hand_over = workload.role, workload.role == "prefill"
        groups = [KvGroup(*kind) for kind in flags["kv_groups"]]
        blocks = flags["num_gpu_blocks"] - 1
        kind = RecallingScheduler if self._role == "recall" else Scheduler
        self.scheduler = kind(
            config,
            blocks,
            lanes,
            0,
            hand_over,
            admission=policy,
            victims=policy,
            groups=groups,
            encoder_tokens=flags.get("encoder_tokens", 0),
            rules=rules,
        )
        self._loads = Loads({job.id: list(job.kept) for job in workload.jobs})
        if isinstance(self.scheduler, RecallingScheduler):
            self.scheduler.attach(self._loads)
        elif self._role != "both":
            self.scheduler.remote_kvs.connector = self._loads
        self._states: dict[int, VllmRequestState] = {}
        self._lanes, self._calls = lanes, 0
        self._unsettled: list[tuple[int, VllmStep]] = []
        self._asynchronous = flags["async_scheduling"]
        self._time = 0

    def add(self, job: Job) -> None:
        self._time += 1
        images = tuple(Image(*image) for image in job.images)
        request = Request(
            job.id, self._time, job.inputs, job.outputs, array("q", job.ids), priority=job.priority, images=images
        )
        state = self._states[job.id] = VllmRequestState(request)
        state.remote = self._role == "decode" and job.moves > 0
        self.scheduler.waiting.append(state)

    def schedule(self) -> tuple[Any, Any]:
        while self._asynchronous and self._unsettled and self._calls - self._unsettled[0][0] >= self._lanes:
            self.scheduler.settle(self._unsettled.pop(0)[1])
        self._calls += 1
        before = {id: state.num_preemptions for id, state in self._states.items()}
        step = self.scheduler.schedule(self._time)
        batch, images = [], []
        if step is not None:
            self._unsettled.append((self._calls - 1, step))
            images = list(step.batch.images)
            decoders = step.lane.decoders
            batch = [[s.request.id, 1, decoders.context(s)] for s in decoders.members()]
            batch += [[chunk.state.request.id, chunk.tokens, chunk.end - chunk.tokens] for chunk in step.lane.chunks]
        preempted = [id for id, state in self._states.items() if state.num_preemptions > before[id]]
        return step, [sorted(batch), sorted(preempted), self._loads.taken(), images, *self._state()]

    def moved(self, ids: list[int]) -> None:
        """Their K and V have arrived here, or left."""
        done = self.scheduler.release if self._role == "prefill" else self.scheduler.remote_kvs.loaded
        for id in ids:
            done(self._states[id])

    def update(self, step: VllmStep, moved: list[int]) -> Any:
        if self._unsettled and self._unsettled[0][1] is step:
            self.scheduler.settle(self._unsettled.pop(0)[1])
        self.scheduler.finish(step)
        ended = [state.request.id for state in (*step.ended, *step.handed) if not state.aborted]
        self.moved(moved)
        return [sorted(ended), *self._state()]

    def abort(self, job: Job) -> None:
        state = self._states[job.id]
        known = (*self.scheduler.waiting, *self.scheduler.running.values(), *self.scheduler.remote_kvs.sequences())
        if state in known:
            self.scheduler.abort(state)

    def _state(self) -> list[Any]:
        scheduler = self.scheduler
        running = [state.request.id for state in scheduler.running.values()]
        waiting = [*scheduler.waiting.ordered(scheduler.remote_kvs.sequences()), *scheduler.waiting]
        return [scheduler.pool.free, scheduler.pool.cached, [state.request.id for state in waiting], running]


class Loads(RecallingConnector):
    """Notes whose K and V are to be loaded. ``kept``: by request, of how many tokens it has them, and how often it asks
    to be asked again."""

    decode_gives_first_token = asynchronous = True
    watches_evictions = keeps_computed = False

    def __init__(self, kept: dict[int, list[int]]) -> None:
        self._kept = kept
        self._loading: list[list[int]] = []

    def reserved(self, state: RequestState, tokens: int) -> None:
        self._loading.append([state.request.id, tokens])

    def matched(self, state: RequestState, tokens: int) -> int | None:
        kept = self._kept[state.request.id]
        if kept[1]:
            kept[1] -= 1
            return None
        return max(0, kept[0] - tokens)

    def recall(self, state: RequestState, tokens: int, more: int) -> None:
        self.reserved(state, more)

    def preempted(self, state: RequestState) -> None: ...

    def ended(self, state: RequestState) -> bool:
        return False

    def step_ended(self) -> None: ...

    def moves(self) -> None: ...

    def taken(self) -> list[list[int]]:
        loading, self._loading = self._loading, []
        return loading


def staggered(workload: Workload, rules: Rules) -> bool:
    """Whether a request is in every so many-th step alone."""
    flags = workload.flags
    return rules.staggers and flags["async_scheduling"] and flags["pipeline_parallel_size"] > 1


def play(real: RealScheduler, workload: Workload) -> str:
    """Where the two differ first, in words; empty if they never do: till all is done, or neither can go on."""
    theirs = Theirs(real, workload)
    rules = rules_of(f"vllm@{real.version}")
    ours = Ours(workload, theirs.absent, rules)
    steps = workload.steps + staggered(workload, rules)
    flights: list[tuple[Any, Any]] = []
    left = max(max(job.comes, job.goes) for job in workload.jobs)
    takes = {job.id: job.moves for job in workload.jobs}
    moving: list[tuple[int, int]] = []  # (round, id) when K and V are where they are to be
    for round in range(ROUNDS):
        due, moving = [id for when, id in moving if when <= round], [pair for pair in moving if pair[0] > round]
        for job in workload.jobs:
            if job.comes == round:
                theirs.add(job)
                ours.add(job)
            if job.goes == round:
                theirs.abort(job)
                ours.abort(job)
        (their_step, expected), (our_step, got) = theirs.schedule(due), ours.schedule()
        if difference := compare(
            f"round {round}, schedule", ("batch", "preempted", "loading", "images", *STATE), expected, got
        ):
            return difference
        moving += [(round + takes[id], id) for id, _ in expected[2]]
        if their_step is not None:
            flights.append((their_step, our_step))
        else:
            ours.moved(due)
            due = []
        if flights and (their_step is None or len(flights) == steps):
            their_step, our_step = flights.pop(0)
            (_, *expected), got = theirs.update(their_step, due), ours.update(our_step, due)
            due = []
            if difference := compare(f"round {round}, update", ("ended", *STATE), expected, got):
                return difference
            if workload.role == "prefill":
                moving += [(round + takes[id], id) for id in expected[0]]
        moving += [(round + 1, id) for id in due]
        if not flights and not moving and round >= left and (their_step is None or not (expected[-1] or expected[-2])):
            return ""
    starving = {  # vLLM, too: docs/truth.md
        "decode": workload.flags["policy"] == "priority",
        "recall": not rules.reserves,
    }
    return "" if starving.get(workload.role) else f"not done after {ROUNDS} rounds"


def play_balance(real: RealScheduler, balance: Balance) -> str:
    """Where publications or choices differ first, in words; empty if they never do."""
    counting = rules_of(f"vllm@{real.version}") is V33
    lockstep = balance.lockstep or not counting
    asked = balance.ranks, balance.servers, lockstep, balance.told, balance.requests
    published, chosen = real.ask("balance", *asked)
    coordinator = Coordinator(balance.ranks, 0, lockstep, (0, 0, 0) if counting else (0, 0))
    kind = FlightCounting if counting else FrontEnd
    servers = [kind(coordinator, index, balance.servers) for index in range(balance.servers)]
    told, flying = deque(balance.told), []
    for number, (when, server, ends) in enumerate(balance.requests):
        while told and told[0][0] < when:
            at, rank, step, *counts = told.popleft()
            coordinator.tell(at, rank, step, tuple(counts if counting else counts[:2]))
        for end, where, rank in [one for one in flying if one[0] < when]:
            flying.remove((end, where, rank))
            servers[where].ended(rank)
        rank = servers[server].choose(when)
        flying.append((ends, server, rank))
        ours, theirs = [list(counts) for counts in coordinator.published], [row for row in published if row[0] < when]
        if theirs and (ours != theirs[-1][1] or coordinator.publications != len(theirs) - 1):
            return f"at {when} ms: published: vLLM {theirs[-1]}, the {len(theirs)}th, ours {ours}"
        if rank != chosen[number]:
            return f"at {when} ms: rank: vLLM {chosen[number]}, ours {rank}"
    return ""


STATE = ("free blocks", "names that can be found", "waiting", "running")


def compare(where: str, names: tuple[str, ...], expected: list[Any], got: list[Any]) -> str:
    for name, theirs, ours in zip(names, expected, got, strict=True):
        if theirs != ours:
            return f"{where}: {name}: vLLM {theirs}, ours {ours}"
    return ""


def differs(real: RealScheduler, mode: str, seed: int) -> str:
    """Where a workload of that mode differs first, in words; empty if it does not."""
    return play_balance(real, draw_balance(seed)) if mode == RANKS else play(real, draw(mode, seed))


def told(real: RealScheduler, mode: str, seed: int) -> str:
    """Of one that differs: a smallest that still does, and where."""
    if mode == RANKS:
        return f"{differs(real, mode, seed)}\n{draw_balance(seed)}"
    workload, why = shrunk(real, draw(mode, seed))
    return f"{why}\n{workload}"


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

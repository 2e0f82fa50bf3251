"""One workload through vLLM's own offloading connector and ours, behind both schedulers, step by step.

Nobody copies anything: copies are done when this says so, so that both see the same. Those into the tier of a request are
done some rounds after it has ended, or at once when it is preempted (vLLM's workers wait for them then); those out of the
tier some rounds after they began.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any

from metronome.adapters.vllm import RealScheduler
from metronome.orchestrator.kernel.instrument import Instruments
from metronome.orchestrator.serving.hooks import ServingHooks
from metronome.orchestrator.serving.tiers.connector import OffloadingConnector, Rules, Tier
from metronome.orchestrator.serving.tiers.eviction import Lru
from metronome.orchestrator.serving.tiers.pool import TierPool
from metronome.orchestrator.serving.tiers.sessions import Sessions
from metronome.orchestrator.serving.vllm.config import SchedulerConfig
from metronome.orchestrator.serving.vllm.recalls import RecallingScheduler
from metronome.orchestrator.serving.vllm.request_state import VllmRequestState
from metronome.orchestrator.workload.request import Request

ROUNDS = 3000


@dataclass(frozen=True)
class Case:
    """``jobs``: (round it comes, input tokens, output tokens, ids); ``slow``: rounds a copy of a request takes."""

    flags: dict[str, Any]
    jobs: list[tuple[int, int, int, list[int]]]
    slow: list[int]


def draw(seed: int) -> Case:
    """Requests of a few families that begin alike; caches that hold little."""
    random = Random(f"offloading {seed}")
    size = random.choice((1, 2, 4, 4, 16))
    factor = random.choice((1, 1, 2, 3))
    jobs = []
    for number in range(random.randint(2, 16)):
        inputs, outputs = random.randint(1, 60), random.randint(1, 14)
        family, shared = random.randint(0, 3), random.randint(0, inputs + outputs)
        own = [1000 * (number + 1) + i for i in range(inputs + outputs - shared)]
        ids = [100_000 * (family + 1) + i for i in range(shared)] + own
        jobs.append((random.randint(0, 30), inputs, outputs, ids))
    most = max(-(-(inputs + outputs) // size) for _, inputs, outputs, _ in jobs)
    flags = {
        "max_num_seqs": random.choice((1, 2, 4, 16)),
        "max_num_batched_tokens": random.choice((random.randint(8, 60), 200)),
        "long_prefill_token_threshold": random.choice((0, 0, 8)),
        "scheduler_reserve_full_isl": random.random() < 0.8,
        "block_size": size,
        "num_gpu_blocks": 1 + most + random.choice((0, 3, 10, 60)),
        "enable_prefix_caching": True,
        "async_scheduling": False,
        "offload": [random.choice((1, 4, 12, 40, 400)), factor, random.choice((0, 0, 0, 2))],
    }
    return Case(flags, jobs, [random.randint(1, 6) for _ in jobs])


@dataclass
class World:
    """Copies on our side that are not done."""

    recalls: dict[int, Callable[[], None]] = field(default_factory=dict)
    stores: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    noted: list[list[int]] = field(default_factory=list)
    now_ps: int = 0

    @property
    def timer(self) -> World:
        return self

    def found(self, tier: str, pool: TierPool, names: Sequence[bytes]) -> list[Any]:
        return pool.read(names)

    def waited(self, move: Any, took_ps: int) -> None:
        """Nobody is told."""

    def recall(self, load: Any, layers: range | None, done: Callable[[], None]) -> None:
        self.recalls[load.request] = done
        self.noted.append([load.request, load.tokens])

    def store(self, store: Any, done: Callable[[], None]) -> None:
        self.stores.setdefault(store.request, []).append(done)


class Ours:
    def __init__(self, case: Case) -> None:
        flags = case.flags
        names = SchedulerConfig.__dataclass_fields__
        config = SchedulerConfig(**{name: value for name, value in flags.items() if name in names})
        self.scheduler = RecallingScheduler(config, flags["num_gpu_blocks"] - 1)
        chunks, factor, threshold = flags["offload"]
        self.pool = TierPool("tier", chunks, 1, Lru(), threshold)
        self.world = World()
        engine = SimpleNamespace(
            block_size=config.block_size,
            finished_recving=lambda state: self.scheduler.remote_kvs.loaded(state),
            finished_sending=lambda state: self.scheduler.release(state),
        )
        replica: Any = SimpleNamespace(name="a", engine=engine, wake=lambda: None)
        hooks, nobody = ServingHooks(Instruments()), SimpleNamespace(move=None)
        rules = Rules(factor, "async", True, 1)
        timer: Any = self.world
        self.connector = OffloadingConnector(
            replica, [Tier("tier", self.pool)], nobody, rules, timer, hooks, Sessions()
        )
        self.connector._copier = self.connector._moves.copier = self.world  # nothing is copied
        self.scheduler.attach(self.connector)
        self.states: dict[int, VllmRequestState] = {}

    def add(self, number: int, inputs: int, outputs: int, ids: list[int]) -> None:
        request = Request(number, number, inputs, outputs, array("q", ids))
        state = self.states[number] = VllmRequestState(request)
        self.scheduler.waiting.append(state)

    def schedule(self) -> tuple[Any, list[Any], list[int]]:
        before = {number: state.num_preemptions for number, state in self.states.items()}
        step = self.scheduler.schedule(0)
        batch, stored = [], []
        if step is not None:
            decoders = step.lane.decoders
            batch = [[s.request.id, 1, decoders.context(s)] for s in decoders.members()]
            batch += [[chunk.state.request.id, chunk.tokens, chunk.end - chunk.tokens] for chunk in step.lane.chunks]
            if step.moves is not None:
                tokens = self.connector._tokens
                stored = [[store.request, store.tokens // tokens] for store in step.moves.stores]
        preempted = [number for number, state in self.states.items() if state.num_preemptions > before[number]]
        for number in preempted:  # the step waits for their copies
            self.copied(number)
        loading, self.world.noted = self.world.noted, []
        told = [sorted(batch), sorted(preempted), loading, sorted(stored), self.pool.used, *self.state()]
        return step, told, preempted

    def copied(self, number: int) -> None:
        for done in self.world.stores.pop(number, []):
            done()

    def update(self, step: Any) -> list[int]:
        if step is None:
            self.scheduler.empty_step()
            return []
        self.scheduler.settle(step)
        self.scheduler.finish(step)
        return sorted(state.request.id for state in step.ended)

    def state(self) -> list[Any]:
        scheduler = self.scheduler
        running = [state.request.id for state in scheduler.running.values()]
        waiting = [*scheduler.waiting.ordered(scheduler.remote_kvs.sequences()), *scheduler.waiting]
        return [scheduler.pool.free, scheduler.pool.cached, [state.request.id for state in waiting], running]


NAMES = ("batch", "preempted", "loading", "storing", "chunks", "free blocks", "names", "waiting", "running")


def play(real: RealScheduler, case: Case) -> str:
    """Where the two differ first, in words; empty if they never do."""
    real.ask("open", case.flags)
    ours = Ours(case)
    given = dict.fromkeys(range(len(case.jobs)), 0)
    arriving: list[tuple[int, int]] = []  # (round, request) when what is recalled is there
    leaving: list[tuple[int, int]] = []  # when what it has stored is
    ever: set[int] = set()  # who has stored anything
    open_jobs = len(case.jobs)
    for round in range(ROUNDS):
        for number, (comes, inputs, outputs, ids) in enumerate(case.jobs):
            if comes == round:
                real.ask("add", number, ids[:inputs], outputs)
                ours.add(number, inputs, outputs, ids)
        there = [number for when, number in arriving if when <= round]
        gone = [number for when, number in leaving if when <= round]
        arriving = [one for one in arriving if one[0] > round]
        leaving = [one for one in leaving if one[0] > round]
        their_number, batch, preempted, loading, _, *state = real.ask("schedule")
        stored, used = real.ask("stored")
        theirs = [sorted(batch), preempted, loading, stored, used, *state]
        step, told, _ = ours.schedule()
        for name, expected, got in zip(NAMES, theirs, told, strict=True):
            if expected != got:
                return f"round {round}: {name}: vLLM {expected}, ours {got}"
        ever.update(number for number, _ in stored)
        arriving += [(round + case.slow[number], number) for number, _ in loading]
        tokens = {}
        for number, (_, inputs, _, ids) in enumerate(case.jobs):
            place = inputs + given[number]
            tokens[str(number)] = ids[place] if place < len(ids) else 0
        gave, ended, *_ = real.ask("update", their_number, tokens, there, gone)
        for number in gave:
            given[number] += 1
        our_end = ours.update(step)
        for number in there:
            ours.world.recalls.pop(number)()
        for number in gone:
            ours.copied(number)
        if ended != our_end:
            return f"round {round}: ended: vLLM {ended}, ours {our_end}"
        open_jobs -= len(ended)
        # One whose copies are all done already is told of with the step after; others when their copies are.
        leaving += [
            (round + (case.slow[number] if ours.world.stores.get(number) else 1), number)
            for number in ended
            if number in ever
        ]
        if not open_jobs and not arriving and not leaving:
            return ""
    return f"not done after {ROUNDS} rounds"

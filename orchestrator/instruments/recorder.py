"""What a run leaves behind while it runs.

Steps and requests that are over are written down as they are, and now and then taken into what is kept of them: of a
request its numbers (`ended.py`), of steps the gaps between tokens (`gaps.py`) and what they were in each second
(`seconds.py`). Token times are not stored: a request knows in which steps its tokens came, a step log when each step's
tokens were delivered.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np

from ..serving.hooks import LeaptSteps
from ..serving.interface import Step
from ..serving.offloading import TierCopy
from ..serving.replica import Replica
from ..serving.request_state import RequestState
from .ended import EndedRequests
from .gaps import Gaps, Ints
from .seconds import STANDS, SUMS, EngineRows, Seconds

TAKEN_STEPS = 1 << 14  # steps that are written down before they are taken into what is kept, and
TAKEN_REQUESTS = 1 << 9  # requests that are over


@dataclass(slots=True)
class StepLog:
    """Columns of the steps of one lane of an engine.

    A step's tokens come out of the engine at ``end_ps`` and are with their clients at ``delivered_ps``. ``kv_cached``:
    free blocks that can be found by their content; -1 where the engine does not say.
    """

    end_ps: array[int] = field(default_factory=lambda: array("q"))
    delivered_ps: array[int] = field(default_factory=lambda: array("q"))
    prompt_tokens: array[int] = field(default_factory=lambda: array("q"))
    output_tokens: array[int] = field(default_factory=lambda: array("q"))
    running: array[int] = field(default_factory=lambda: array("q"))
    waiting: array[int] = field(default_factory=lambda: array("q"))
    kv_used: array[int] = field(default_factory=lambda: array("q"))
    kv_cached: array[int] = field(default_factory=lambda: array("q"))

    def look(self, replica: Replica) -> None:
        """Write down how full its engine is."""
        waiting, running = replica.load
        self.running.append(running)
        self.waiting.append(waiting)
        self.kv_used.append(replica.engine.used_blocks)
        cached = replica.cached_blocks
        self.kv_cached.append(-1 if cached is None else cached)

    @property
    def rows(self) -> int:
        """That are whole: Ctrl-C may have cut the last one short."""
        return min(len(getattr(self, column.name)) for column in fields(self))

    def column(self, name: str) -> Ints:
        return np.array(getattr(self, name)[: self.rows], dtype=np.int64)

    @property
    def times(self) -> tuple[Ints, Ints]:
        """When its steps ended and when their tokens were delivered."""
        return self.column("end_ps"), self.column("delivered_ps")

    @property
    def looks(self) -> tuple[Ints, Ints]:
        """When its steps ended, and what they were."""
        return self.column("end_ps"), np.array([self.column(name) for name in (*SUMS, *STANDS)])


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not served: refused, or given up by its client."""

    id: int
    place: int
    input_tokens: int
    output_tokens: int
    arrival_ps: int
    slo_class: str
    reason: str
    error: str
    time_ps: int
    kept: RequestState | None = field(repr=False)

    @property
    def state(self) -> RequestState:
        """As it was then; only of a recorder that keeps requests whole."""
        if self.kept is None:
            raise AssertionError("this recorder keeps the numbers of requests alone")
        return self.kept


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of steps and requests that are over."""

    steps: int = 0
    requests: EndedRequests = field(default_factory=EndedRequests)
    gaps: Gaps = field(default_factory=Gaps)
    seconds: Seconds = field(default_factory=Seconds)

    @classmethod
    def together(cls, parts: Sequence[Kept]) -> Kept:
        """That of several runs, of which each engine is of one."""
        return cls(
            sum(part.steps for part in parts),
            EndedRequests.together(part.requests for part in parts),
            Gaps.together([part.gaps for part in parts]),
            Seconds.together([part.seconds for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class _Now:
    """What is kept, and what is to be taken into it: in one place, so that Ctrl-C finds both as they were, or both as
    they are then."""

    kept: Kept
    logs: list[StepLog]
    idle: list[StepLog]
    done: list[RequestState]

    @classmethod
    def after(cls, kept: Kept, logs: int, engines: int) -> _Now:
        """Nothing is to be taken into it."""
        return cls(kept, [StepLog() for _ in range(logs)], [StepLog() for _ in range(engines)], [])

    def taken(self, lanes_of: Sequence[range], before_ps: int | None) -> Kept:
        """What is kept then; ``before_ps`` as of `Gaps.extended`."""
        logs = [log.looks for log in self.logs]
        engines = [
            EngineRows.of([*(logs[lane] for lane in lanes), idle.looks])
            for lanes, idle in zip(lanes_of, self.idle, strict=True)
        ]
        return Kept(
            self.kept.steps + sum(len(ends) for ends, _ in logs),
            self.kept.requests.extended(self.done),
            self.kept.gaps.extended([log.times for log in self.logs], self.done, before_ps),
            self.kept.seconds.extended(engines),
        )


class Change(NamedTuple):
    """What an instance does from a time on."""

    instance: str
    state: str
    time_ps: int


@dataclass(slots=True)
class Amounts:
    """So much at a time."""

    time_ps: array[int] = field(default_factory=lambda: array("q"))
    amount: array[int] = field(default_factory=lambda: array("q"))

    def add(self, time_ps: int, amount: int) -> None:
        self.time_ps.append(time_ps)
        self.amount.append(amount)


@dataclass(slots=True)
class TierLog:
    """Columns of the copies of one tier, as they end: bytes one way, and chunks used in its pool, by its number."""

    end_ps: array[int] = field(default_factory=lambda: array("q"))
    size: array[int] = field(default_factory=lambda: array("q"))
    recall: array[int] = field(default_factory=lambda: array("q"))
    used: array[int] = field(default_factory=lambda: array("q"))
    pool: array[int] = field(default_factory=lambda: array("q"))
    pools: list[str] = field(default_factory=list)
    hits: Amounts = field(default_factory=Amounts)  # chunks that were to be recalled
    stall: Amounts = field(default_factory=Amounts)  # ps that were waited, up to then


class Recorder:
    """Keeps what the report needs; ``whole``: also requests and steps as they were, for whoever looks at them then.
    Else ``taken`` is called when some have been taken into what is kept.

    ``logs`` has one step log a lane of each engine; ``lanes_of[engine number]`` says which are whose. Where they are
    not kept whole a log has only steps that are not yet taken into what is kept.
    """

    rewinds = True

    def __init__(self, whole: bool = True, taken: Callable[[], None] = lambda: None) -> None:
        self.whole, self._taken = whole, taken
        self.lanes_of: list[range] = []
        self.failed: list[Failure] = []
        self.changes: list[Change] = []
        self.tiers: dict[str, TierLog] = {}  # by name
        self._now = _Now.after(Kept(), 0, 0)
        self._live: dict[int, RequestState] = {}  # under way, by number; where nothing is kept whole
        self._rows, self._most = 0, sys.maxsize if whole else TAKEN_STEPS  # steps to be taken, and how many may be

    def add_engine(self, lanes: int) -> int:
        """Make the logs of one more engine; returns the number of the first."""
        first = len(self.logs)
        self.logs.extend(StepLog() for _ in range(lanes))
        self.lanes_of.append(range(first, first + lanes))
        self.idle.append(StepLog())
        return first

    @property
    def logs(self) -> list[StepLog]:
        return self._now.logs

    @property
    def idle(self) -> list[StepLog]:
        """Of each engine, as it was when it found nothing to compute: rows without tokens."""
        return self._now.idle

    @property
    def done(self) -> list[RequestState]:
        """Requests as they end. Only of a recorder that keeps them whole."""
        if not self.whole:
            raise AssertionError("this recorder keeps the numbers of requests alone: see `so_far`")
        return self._now.done

    def so_far(self) -> Kept:
        """What is kept of all that is over. It holds until more is."""
        return self._now.taken(self.lanes_of, None)

    def put(self, kept: Kept, failed: Iterable[Failure]) -> None:
        """In place of what it has: that of others."""
        self._now = _Now.after(kept, len(self.logs), len(self.idle))
        self.failed = list(failed)

    @property
    def over(self) -> int:
        """Requests that have ended."""
        return len(self._now.kept.requests) + len(self._now.done)

    @property
    def steps(self) -> int:
        return self._now.kept.steps + sum(len(log.end_ps) for log in self.logs)

    def engine_stepped(self, replica: Replica, step: Step, energy_pj: int, now_ps: int, delivered_ps: int) -> None:
        log = self._now.logs[self.lanes_of[replica.number].start + step.slot]
        log.end_ps.append(now_ps)
        log.delivered_ps.append(delivered_ps)
        log.prompt_tokens.append(sum(step.batch.prompts[::2]))
        log.output_tokens.append(step.tokens)
        log.look(replica)
        self._rows += 1
        if self._rows >= self._most:
            self._take()

    def engine_idle(self, replica: Replica, now_ps: int) -> None:
        log = self._now.idle[replica.number]
        log.end_ps.append(now_ps)
        log.delivered_ps.append(now_ps)
        log.prompt_tokens.append(0)
        log.output_tokens.append(0)
        log.look(replica)
        self._rows += 1

    def engine_leapt(self, replica: Replica, steps: LeaptSteps) -> None:
        log = self._now.logs[self.lanes_of[replica.number].start + steps.slot]
        count = len(steps.ends_ps)
        waiting, running = replica.load
        log.end_ps.extend(steps.ends_ps)
        log.delivered_ps.extend(steps.delivered_ps)
        log.prompt_tokens.extend((0,) * count)
        log.output_tokens.extend((steps.tokens,) * count)
        log.running.extend((running,) * count)
        log.waiting.extend((waiting,) * count)
        log.kv_used.extend(steps.used_blocks)
        log.kv_cached.extend(steps.cached_blocks or (-1,) * count)
        self._rows += count

    def request_arrived(self, state: RequestState, now_ps: int) -> None:
        if not self.whole:
            self._live[state.request.id] = state

    def request_ended(self, state: RequestState) -> None:
        now = self._now
        now.done.append(state)
        if not self.whole:
            self._live.pop(state.request.id, None)
            if len(now.done) >= TAKEN_REQUESTS:
                self._rows = self._most  # when the step is whole

    def request_failed(self, state: RequestState, reason: str, error: str, now_ps: int) -> None:
        asked = state.request
        sizes = asked.input_tokens, asked.output_tokens, asked.arrival_ps, asked.slo_class
        kept = state if self.whole else None
        self.failed.append(Failure(asked.id, state.place, *sizes, reason, error, now_ps, kept))
        self._live.pop(asked.id, None)

    def _take(self) -> None:
        """Take what is over into what is kept, and let go of it."""
        now = self._now
        before_ps = 1 + max((log.end_ps[-1] for log in now.logs if log.end_ps), default=0)
        for state in self._live.values():
            if state.scheduled_ps >= 0:
                before_ps = min(before_ps, state.scheduled_ps)
            elif state.first_token_ps >= 0:  # its engine does not say
                before_ps = min(before_ps, state.request.arrival_ps)
        self._now = _Now.after(now.taken(self.lanes_of, before_ps), len(now.logs), len(now.idle))
        self._rows = 0
        self._most = max(TAKEN_STEPS, 2 * len(self._live))  # so that looking at those under way costs little
        self._taken()

    def instance_changed(self, instance: str, state: str, now_ps: int) -> None:
        self.changes.append(Change(instance, state, now_ps))

    def tier_hit(self, tier: str, chunks: int, now_ps: int) -> None:
        self.tiers.setdefault(tier, TierLog()).hits.add(now_ps, chunks)

    def tier_waited(self, tier: str, took_ps: int, now_ps: int) -> None:
        self.tiers.setdefault(tier, TierLog()).stall.add(now_ps, took_ps)

    def tier_copy_ended(self, copy: TierCopy) -> None:
        log = self.tiers.setdefault(copy.tier, TierLog())
        if copy.pool not in log.pools:
            log.pools.append(copy.pool)
        log.end_ps.append(copy.ended_ps)
        log.size.append(copy.bytes)
        log.recall.append(copy.recall)
        log.used.append(copy.used)
        log.pool.append(log.pools.index(copy.pool))

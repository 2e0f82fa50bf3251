"""What a run leaves behind while it runs: one row a step, one record a request.

Token times are not stored: a sequence knows in which steps its tokens came, a step log when each
step's tokens were delivered.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from ..serving.hooks import LeaptSteps
from ..serving.interface import Step
from ..serving.offloading import TierCopy
from ..serving.replica import Replica
from ..serving.request_state import RequestState


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

    def trim(self) -> None:
        """Drop a last row that Ctrl-C has cut short."""
        columns: list[array[int]] = [getattr(self, column.name) for column in fields(self)]
        rows = min(map(len, columns))
        for column in columns:
            del column[rows:]


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not served: refused, or given up by its client."""

    state: RequestState
    reason: str
    error: str
    time_ps: int


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
    """Keeps what the report needs.

    ``logs`` has one step log a lane of each engine; ``lanes_of[engine number]`` says which are whose.
    """

    rewinds = True

    def __init__(self) -> None:
        self.logs: list[StepLog] = []
        self.lanes_of: list[range] = []
        self.idle: list[StepLog] = []  # of each engine, as it was when it found nothing to compute: rows without tokens
        self.done: list[RequestState] = []  # as they end
        self.failed: list[Failure] = []
        self.changes: list[Change] = []
        self.tiers: dict[str, TierLog] = {}  # by name

    def add_engine(self, lanes: int) -> int:
        """Make the logs of one more engine; returns the number of the first."""
        first = len(self.logs)
        self.logs += [StepLog() for _ in range(lanes)]
        self.lanes_of.append(range(first, first + lanes))
        self.idle.append(StepLog())
        return first

    def engine_stepped(self, replica: Replica, step: Step, energy_pj: int, now_ps: int, delivered_ps: int) -> None:
        log = self.logs[self.lanes_of[replica.number].start + step.slot]
        log.end_ps.append(now_ps)
        log.delivered_ps.append(delivered_ps)
        log.prompt_tokens.append(sum(step.batch.prompts[::2]))
        log.output_tokens.append(step.tokens)
        log.look(replica)

    def engine_idle(self, replica: Replica, now_ps: int) -> None:
        log = self.idle[replica.number]
        log.end_ps.append(now_ps)
        log.delivered_ps.append(now_ps)
        log.prompt_tokens.append(0)
        log.output_tokens.append(0)
        log.look(replica)

    def engine_leapt(self, replica: Replica, steps: LeaptSteps) -> None:
        log = self.logs[self.lanes_of[replica.number].start + steps.slot]
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

    def request_ended(self, state: RequestState) -> None:
        self.done.append(state)

    def request_failed(self, state: RequestState, reason: str, error: str, now_ps: int) -> None:
        self.failed.append(Failure(state, reason, error, now_ps))

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

    @property
    def steps(self) -> int:
        return sum(len(log.end_ps) for log in self.logs)

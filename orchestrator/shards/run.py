"""A run over workers: split, simulated apart, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MetronomeError
from ..instruments.progress import Tell
from ..report.result import Ending, Result
from ..report.results import collect
from ..scenario.schema import Scenario
from ..simulation import Simulation
from ..sweep.places import Cluster, opened
from .exchange import Meeting
from .part import put_together
from .splitting import why_not
from .work import LOST, CannotSplitError, Outcome, compute

Ended = MetronomeError | KeyboardInterrupt | None


@dataclass(frozen=True, slots=True)
class Task:
    """What is run, as a worker loads it; ``shards``: into how many parts, 0 for as many as there are ``workers``."""

    source: str
    overrides: Mapping[str, Any]
    workers: int
    cluster: Cluster | None = None
    shards: int = 0
    strict: bool = False


class PartFailure(MetronomeError):
    """A part of the run did not come to its end."""

    def __init__(self, outcome: Outcome) -> None:
        self.exit_code = outcome.exit_code
        super().__init__(outcome.ending.error or "")


@dataclass(slots=True)
class Told:
    """What parts say while they run: how far they are, told on of all together, and reports for one another."""

    tell: Tell
    meeting: Meeting
    parts: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def __call__(self, shard: int, said: tuple[Any, ...], answer: Callable[[Any], None]) -> None:
        what, *more = said
        if what == "report":
            time_ps, row = more
            self.meeting.reported(shard, time_ps, row, answer)
            return
        now_ps, done, tokens = more
        self.parts[shard] = now_ps, done, tokens
        now, of, out = zip(*self.parts.values(), strict=True)
        self.tell(min(now), sum(of), sum(out))


def run(scenario: Scenario, folder: Path, task: Task, tell: Tell = lambda *far: None) -> tuple[Result, Ended]:
    """The result of a run, byte for byte that of one process, and what ended it early: then of what parts had by then.

    Raises CannotSplitError for a run that cannot be split, and what one raises of which nothing could begin.
    """
    started = time.perf_counter()
    with Simulation(scenario, folder, strict=task.strict, whole=False) as simulation:
        if reason := why_not(simulation):
            raise CannotSplitError(reason)
        if simulation.availability.reports and (task.cluster or task.shards > task.workers):
            raise CannotSplitError("parts tell one another their loads: that takes a process here for each")
        startup_s, count = time.perf_counter() - started, min(task.shards or task.workers, len(simulation.units))
        found: dict[int, Outcome] = {}
        interrupted = _simulated(task, count, found, tell)
        outcomes = [outcome for _, outcome in sorted(found.items())]
        failed = next((one for one in outcomes if one.ending.status == "failed"), None)
        parts = [one.part for one in outcomes if one.part is not None]
        ended = interrupted or (PartFailure(failed) if failed else None)
        if ended and (not parts or (failed and failed.part is None)):
            raise ended
        put_together(simulation, parts)
        simulation.wall_s = time.perf_counter() - started - startup_s
        ending = Ending("interrupted") if interrupted else failed.ending if failed else Ending()
        return collect(simulation, startup_s, ending), ended


def _simulated(task: Task, count: int, found: dict[int, Outcome], tell: Tell) -> KeyboardInterrupt | None:
    """All shards, into ``found``; what interrupted it."""
    tasks = ((shard, (task.source, dict(task.overrides), shard, count, task.strict)) for shard in range(count))
    meeting = Meeting(count)

    def done(shard: int, outcome: Outcome) -> None:
        found[shard] = outcome
        meeting.ended(shard)

    try:
        with opened(task.workers, task.cluster, compute, LOST, Told(tell, meeting)) as places:
            places.map(tasks, done)
    except KeyboardInterrupt as error:
        return error
    return None

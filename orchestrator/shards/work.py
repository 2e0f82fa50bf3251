"""What a worker does: a run of which it simulates the instances of its shard alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ExtensionFailure, InputError, MetronomeError, let_interrupts_through
from ..instruments.progress import Progress
from ..report.result import Ending
from ..scenario.loading import load
from ..simulation import Simulation
from ..sweep.worker import tell
from ..workload.request import Request
from .exchange import Member
from .part import Part
from .splitting import replicas

EVERY_S = 0.2  # how often it is told how far it is


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a shard: its part, none where nothing could begin; how it ended, and the exit code of that."""

    part: Part | None
    ending: Ending
    exit_code: int = 0


LOST = Outcome(None, Ending("failed", "the process that simulated a part was killed three times; out of memory?"), 3)


class CannotSplitError(InputError):
    """Parts would have to know of one another."""

    def __init__(self, why: str) -> None:
        super().__init__("run", "--workers", None, f"this run cannot be split: {why}")


def compute(source: str, overrides: Mapping[str, Any], shard: int, of: int, strict: bool) -> Outcome:
    """Shard number ``shard`` of ``of``; never raises. SIGTERM ends it with what it has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whoever splits it says them
        try:
            scenario, folder = load(source, overrides)
            with Simulation(scenario, folder, None, [Progress(Teller())], strict=strict, whole=False) as simulation:
                _have(simulation, shard, of)
                simulation.books.open = True  # a node's are closed where all its instances are known
                ending, code = _run(simulation)
                return Outcome(Part.of(simulation), ending, code)
        except MetronomeError as error:
            return Outcome(None, Ending("failed", str(error)), error.exit_code)
        except BaseException as error:
            let_interrupts_through(error)
            return Outcome(None, Ending("failed", str(ExtensionFailure(error))), ExtensionFailure.exit_code)


def _have(simulation: Simulation, shard: int, of: int) -> None:
    """From now on that part's instances alone."""
    by_part, dispatcher = replicas(simulation, of), simulation.dispatcher
    dispatcher.elsewhere = frozenset(number for part, mine in enumerate(by_part) if part != shard for number in mine)
    dispatcher.only(_without_sessions)
    if router := simulation.availability.reports:
        router.elsewhere, router.exchange = dispatcher.elsewhere, Member(shard, by_part).exchange


def _run(simulation: Simulation) -> tuple[Ending, int]:
    """Raises CannotSplitError."""
    try:
        simulation.run()
    except KeyboardInterrupt:
        return Ending("interrupted"), 0
    except CannotSplitError:
        raise
    except MetronomeError as error:
        return Ending("failed", str(error)), error.exit_code
    return Ending(), 0


def _without_sessions(requests: Iterator[Request]) -> Iterator[Request]:
    for request in requests:
        if request.next_turn is not None:
            what = f"request {request.id} is a turn of a session: the next comes when it is done, wherever that is"
            raise CannotSplitError(what)
        yield request


class Teller:
    """Tells whoever waits how far a shard is: simulated ps, requests done, tokens out."""

    def __init__(self) -> None:
        self._next_s = 0.0

    def __call__(self, now_ps: int, done: int, tokens: int) -> None:
        now = time.monotonic()
        if now >= self._next_s:
            self._next_s = now + EVERY_S
            tell(("far", now_ps, done, tokens))

"""A stretch of steps in which nothing can change, done at once.

When a step starts in which all requests of an engine decode, the steps after it are certain until somebody's last
token, or until somebody from outside interferes: a request comes, is given up, fails. Of engines that step together all
must be so, or have nothing to do. Their times are computed at once, and one event stands for them all. What they do to
the engine is done when it is needed: at that event, or when somebody looks (`catch_up`); whoever changes anything ends
the leap at the step that is in flight then (`cut`). All is as if each step had been done for itself:
`tests/serving/test_leaps.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .interface import Step

LEAST, MOST = 4, 128  # steps a leap tries to take; twice as many after one that was not cut


class StepCosts(Protocol):
    """What consecutive steps take: ``durations_ps[i]`` and ``energies_pj[i]``, in so many ``events`` each."""

    @property
    def events(self) -> int: ...

    @property
    def durations_ps(self) -> Sequence[int]: ...

    @property
    def energies_pj(self) -> Sequence[int]: ...

    def use(self, first: int, ends_ps: Sequence[int]) -> None:
        """Steps from ``first`` on have been launched, which end then: their operations count as done."""
        ...


@dataclass(slots=True)
class Leap:
    """Steps that one event stands for.

    Attributes:
        lane: of the loop.
        flight: what is in flight when what has been caught up with is done: of each member its step, if it has any.
        upcoming: what is scheduled after it, with asynchronous scheduling; else none of all.
        costs: of all steps.
        ends_ps: when each ends; ``starts_ps`` when the one after it starts.
        event: at its end, by order in the queue.
        done: steps that have been caught up with: as many have ended, and as many more have started.
    """

    lane: int
    flight: list[Step | None]
    upcoming: list[Step | None]
    costs: StepCosts
    ends_ps: list[int]
    starts_ps: list[int]
    event: int
    done: int = 0

"""How far a run is, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

from ..serving.hooks import LeaptSteps
from ..serving.interface import Step
from ..serving.replica import Replica
from ..serving.request_state import RequestState

Tell = Callable[[int, int, int], None]  # simulated ps, requests done, tokens out
EVERY = 64  # steps


class Progress:
    """Calls ``tell`` every so many steps."""

    rewinds = True

    def __init__(self, tell: Tell) -> None:
        self.tell = tell
        self._steps = self._done = self._tokens = 0

    def engine_stepped(self, replica: Replica, step: Step, energy_pj: int, now_ps: int, delivered_ps: int) -> None:
        self._steps += 1
        self._tokens += step.tokens
        if self._steps % EVERY == 0:
            self.tell(now_ps, self._done, self._tokens)

    def engine_leapt(self, replica: Replica, steps: LeaptSteps) -> None:
        count = len(steps.ends_ps)
        tell = self._steps % EVERY + count >= EVERY
        self._steps += count
        self._tokens += count * steps.tokens
        if tell:
            self.tell(steps.ends_ps[-1], self._done, self._tokens)

    def request_ended(self, state: RequestState) -> None:
        self._done += 1

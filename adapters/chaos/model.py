"""What may go wrong with a component, as its orchestrator sees it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from metronome.hwmodels.base import Config, Model
from metronome.hwmodels.interface import Advanced, Completion, ConfigError, LateOperation, Operation
from metronome.hwmodels.process import LIFE
from pydantic import Field, PositiveInt

HANG_S = 86_400.0
NOBODY = 2**40  # an operation that nobody asked for
ENDS_ITS_PROCESS = ("crash", "hang")

#: How likely it is at each message; or at which message of its first life it happens, of its second, ...
When = Annotated[float, Field(ge=0, le=1)] | list[PositiveInt]


class ChaosConfig(Config):
    """What goes wrong, and when. Messages (`advance`) count from 1 in every session; the lives of a component are the
    times it was started."""

    seed: int = 0
    crash: When = Field(default=0.0, description="its process is killed")
    hang: When = Field(default=0.0, description="it does not answer any more")
    delay: When = Field(default=0.0, description="it answers delay_s later")
    drop: When = Field(default=0.0, description="it leaves out a completion")
    duplicate: When = Field(default=0.0, description="it completes an operation twice")
    late: When = Field(default=0.0, description="it claims to have been given an operation of its past")
    garbage: When = Field(default=0.0, description="its figures cannot be")
    delay_s: float = Field(default=0.05, ge=0)
    start_s: float = Field(default=0.0, ge=0, description="how long it takes to be configured")


class _Plan(Model[ChaosConfig]):
    """Reads the configuration as models do, with their messages."""


class _Moments:
    """When one kind of failure comes. One that cannot happen at its message happens at the next where it can."""

    def __init__(self, kind: str, when: float | list[int], seed: int, life: int) -> None:
        self._rate = 0.0 if isinstance(when, list) else when
        self._at = when[life] if isinstance(when, list) and life < len(when) else 0
        self._draw = random.Random(f"chaos {kind} {seed} {life}")

    def come(self, message: int, possible: bool) -> bool:
        drawn = self._draw.random() < self._rate
        if 0 < self._at <= message and possible:
            self._at = 0
            return True
        return drawn and possible


class Chaotic:
    """Comes before a model's class; see `metronome.adapters.chaos`."""

    @classmethod
    def config_schema(cls) -> dict[str, Any]:
        schema: dict[str, Any] = super().config_schema()  # type: ignore[misc]
        return {**schema, "properties": {**schema.get("properties", {}), "chaos": ChaosConfig.model_json_schema()}}

    def __init__(self, config: Mapping[str, Any] | None = None, seed: int = 0) -> None:
        given = dict(config or {})
        self._plan = _planned(given.pop("chaos", None) or {}, seed)
        life = int(os.environ.get(LIFE, 0))
        kinds = ("crash", "hang", "delay", "drop", "duplicate", "late", "garbage")
        self._moments = {kind: _Moments(kind, getattr(self._plan, kind), self._plan.seed, life) for kind in kinds}
        self._message = 0
        time.sleep(self._plan.start_s)
        super().__init__(given, seed)  # type: ignore[call-arg]

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop_at_first_completion: bool = False
    ) -> Advanced:
        self._message += 1
        if self._comes("crash"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._comes("hang"):
            time.sleep(HANG_S)
        if self._comes("delay"):
            time.sleep(self._plan.delay_s)
        if self._comes("late", bool(operations)):
            raise LateOperation(operations[0], operations[0].at_ps + 1)
        answer: Advanced = super().advance(grant_ps, operations, stop_at_first_completion)  # type: ignore[misc]
        done = list(answer.completions)
        if self._comes("drop", bool(done)):
            done.pop()
        if self._comes("duplicate", bool(done)):
            done.append(done[-1])
        if self._comes("garbage", bool(done)):
            done[-1] = self._garbled(done[-1])
        return Advanced(answer.reached_ps, tuple(done), answer.next_event_ps, answer.requests)

    def _comes(self, kind: str, possible: bool = True) -> bool:
        return self._moments[kind].come(self._message, possible)

    def _garbled(self, done: Completion) -> Completion:
        wrong = self._message % 3
        if wrong == 0:
            return done._replace(energy_pj=2**62)
        if wrong == 1:
            return done._replace(finish_ps=done.start_ps - 1)
        return done._replace(op_id=NOBODY)


def _planned(given: Any, seed: int) -> ChaosConfig:
    try:
        plan = _Plan(given, seed).config
    except ConfigError as error:
        raise ConfigError(f"chaos.{error.field}", error.value, error.allowed) from None
    except (TypeError, ValueError):
        raise ConfigError("chaos", given, "a mapping of what goes wrong to when") from None
    for kind in ENDS_ITS_PROCESS:
        if getattr(plan, kind) and LIFE not in os.environ:
            raise ConfigError(f"chaos.{kind}", getattr(plan, kind), "needs a process of its own (run: process)")
    return plan

"""Killing and freezing the components of a run at seeded moments."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from metronome.orchestrator.coupling.components import specify
from metronome.orchestrator.coupling.recovery.link import RecoveringLink
from metronome.orchestrator.scenario.loading import load, validate
from metronome.orchestrator.scenario.schema import Scenario

from .remains import mark, marked

#: Tokens of the longest answer, of scenarios where each is hundreds of events like those of the one before.
LONGEST_ANSWER = {"attention-ffn": 12}
LONGEST_S = 0.03  # from an event to the blow: it falls while components compute, while they are asked, in between


class Blow(NamedTuple):
    """What befalls which component (its rank), at which event, how long after it."""

    event: int
    rank: int
    number: signal.Signals
    after_s: float


class Disturber:
    """Instrument that strikes. ``struck``: when (monotonic clock, seconds) each blow that found somebody fell."""

    def __init__(self, blows: list[Blow]) -> None:
        mark()
        self._blows, self._events = sorted(blows), 0
        self.struck: list[float] = []
        self._timers: list[threading.Timer] = []

    def event(self, event: Any) -> None:
        self._events += 1
        while self._blows and self._blows[0].event <= self._events:
            blow = self._blows.pop(0)
            timer = threading.Timer(blow.after_s, self._strike, [blow])
            timer.start()
            self._timers.append(timer)

    def _strike(self, blow: Blow) -> None:
        for pid, command in component_processes():
            if f"/{blow.rank}." in command:
                os.kill(pid, blow.number)
                self.struck.append(time.monotonic())

    def end(self) -> None:
        for timer in self._timers:
            timer.join()


def in_processes(name: str, requests: int, timeout_s: float) -> tuple[Scenario, dict[str, str]]:
    """A bundled scenario, shortened, all its components in processes; and their kinds by name, in order."""
    data = load(name, (), None)[0].model_dump(mode="json", exclude_unset=True)
    data["workload"]["limit"] = requests
    if name in LONGEST_ANSWER:
        data["workload"]["output_tokens"] = {"mean": LONGEST_ANSWER[name], "max": LONGEST_ANSWER[name]}
    kinds = {spec.name: spec.kind for spec in specify(validate(data, name), Path())}
    for component in kinds:
        given = data.get("components", {}).get(component, {})
        data.setdefault("components", {})[component] = {**given, "run": "process", "timeout_s": timeout_s}
    return validate(data, name), kinds


def alone(scenario: Scenario) -> Scenario:
    """The same in this process."""
    data = scenario.model_dump(mode="json", exclude_unset=True)
    for options in data.get("components", {}).values():
        options["run"] = "inprocess"
    return validate(data, scenario.name)


def drawn(seed: int, events: int, components: int) -> Blow:
    draw = random.Random(f"blow {seed}")
    number = draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
    return Blow(draw.randint(1, events), draw.randrange(components), number, draw.uniform(0, LONGEST_S))


def component_processes() -> Iterator[tuple[int, str]]:
    """Our own that live: (process id, command line)."""
    for pid, command in marked():
        if "serve-component" in command:
            yield pid, command


@contextmanager
def attended() -> Iterator[dict[str, float]]:
    """When each component was last spoken to (monotonic clock, seconds), by name: filled while this lasts."""
    last: dict[str, float] = {}
    spoken_to = RecoveringLink._recovering

    def noted(self: RecoveringLink, *arguments: Any, **options: Any) -> Any:
        last[self.name] = time.monotonic()
        return spoken_to(self, *arguments, **options)

    RecoveringLink._recovering = noted  # type: ignore[method-assign]
    try:
        yield last
    finally:
        RecoveringLink._recovering = spoken_to  # type: ignore[method-assign]

"""Killing and freezing the components of a run at seeded moments, and counting what is left of them."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from metronome.orchestrator.coupling.components import specify
from metronome.orchestrator.coupling.launch import owner
from metronome.orchestrator.scenario.loading import load, validate
from metronome.orchestrator.scenario.schema import Scenario

LONGEST_S = 0.03  # from an event to the blow: it falls while components compute, while they are asked, in between


class Blow(NamedTuple):
    """What befalls which component (its rank), at which event, how long after it."""

    event: int
    rank: int
    number: signal.Signals
    after_s: float


class Disturber:
    """Instrument that strikes. ``struck`` are the blows that found somebody."""

    def __init__(self, blows: list[Blow]) -> None:
        self._blows, self._events = sorted(blows), 0
        self.struck: list[Blow] = []
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
                self.struck.append(blow)

    def end(self) -> None:
        for timer in self._timers:
            timer.join()


def in_processes(name: str, requests: int, timeout_s: float) -> tuple[Scenario, dict[str, str]]:
    """A bundled scenario, shortened, all its components in processes; and their kinds by name, in order."""
    data = load(name, (), None)[0].model_dump(mode="json")
    data["workload"]["num_requests"] = min(requests, data["workload"]["num_requests"] or requests)
    kinds = {spec.name: spec.kind for spec in specify(validate(data, name), Path())}
    for component in kinds:
        given = data["components"].get(component, {})
        data["components"][component] = {**given, "run": "process", "timeout_s": timeout_s}
    return validate(data, name), kinds


def alone(scenario: Scenario) -> Scenario:
    """The same in this process."""
    data = scenario.model_dump(mode="json")
    for options in data["components"].values():
        options["run"] = "inprocess"
    return validate(data, scenario.name)


def drawn(seed: int, events: int, components: int) -> Blow:
    draw = random.Random(f"blow {seed}")
    number = draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP))
    return Blow(draw.randint(1, events), draw.randrange(components), number, draw.uniform(0, LONGEST_S))


def component_processes() -> Iterator[tuple[int, str]]:
    """Our own that live: (process id, command line)."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                status = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if "serve-component" in command and int(status[1]) == os.getpid() and status[0] != "Z":
                yield int(entry.name), command


def left() -> list[str]:
    """Processes, and folders with sockets, that a run of this process has left."""
    processes = [f"process {pid}: {command}" for pid, command in component_processes()]
    folders = sorted(map(str, Path(tempfile.gettempdir()).glob(f"{owner.PREFIX}{owner.mine()}-*")))
    return processes + folders

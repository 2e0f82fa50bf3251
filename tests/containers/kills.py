"""Kills and pauses of containers at seeded moments, over bundled scenarios.

    python -m tests.containers.kills [COUNT] [IMAGE]     # needs the engine of DOCKER_HOST; builds the image if there is none

Each run must end with the undisturbed run's results, byte for byte, and leave no container, network or folder.
"""

from __future__ import annotations

import random
import sys
from typing import Any, NamedTuple

import docker
from metronome.orchestrator.coupling.launch import owner
from metronome.orchestrator.scenario.loading import validate

from ..chaos.disturb import alone, in_processes
from ..chaos.remains import remains
from ..chaos.undisturbed import run
from .image import build

#: Together they have components of all four kinds, asked and stepped.
SCENARIOS = ("pim-attention", "shared-uplink", "prefill-decode")
REQUESTS, TIMEOUT_S = 4, 4.0


class Outcome(NamedTuple):
    """``problem`` is empty where all is well; ``blow`` is ``missed`` where the containers were gone."""

    scenario: str
    blow: str
    recoveries: int
    recovery_s: float
    problem: str


class Striker:
    """Instrument that kills or pauses one container of this process at an event."""

    def __init__(self, engine: Any, seed: int, events: int) -> None:
        draw = random.Random(f"container {seed}")
        self._engine, self._at, self._place = engine, draw.randint(1, events), draw.random()
        self.blow, self.struck, self._events = draw.choice(("kill", "kill", "pause")), False, 0

    def event(self, event: Any) -> None:
        self._events += 1
        if self._events != self._at:
            return
        mine = sorted(ours(self._engine), key=lambda made: made.labels["metronome.component"])
        if mine:
            getattr(mine[int(self._place * len(mine))], self.blow)()
            self.struck = True


def ours(engine: Any, all: bool = False) -> list[Any]:
    """Containers of this process."""
    label = f"metronome.owner={owner.mine()}"
    found: list[Any] = engine.containers.list(all=all, ignore_removed=True, filters={"label": label})
    return found


def struck(engine: Any, image: str, seed: int, known: dict[str, Any]) -> Outcome:
    """One run of a scenario with one blow. ``known``: undisturbed results by scenario, filled here."""
    name = SCENARIOS[seed % len(SCENARIOS)]
    scenario, _ = in_processes(name, REQUESTS, TIMEOUT_S)
    if name not in known:
        known[name] = run(alone(scenario)).figures
    data = scenario.model_dump(mode="json", exclude_unset=True)
    for options in data["components"].values():
        options |= {"run": "container", "container": {"image": image, "pull": "never"}, "start_timeout_s": 60}
    networks = {network.id for network in engine.networks.list()}
    striker, problem, recoveries, recovery_s = Striker(engine, seed, known[name][0]["metronome"]["events"]), "", 0, 0.0
    try:
        found = run(validate(data, name), instruments=[striker])
        recoveries, recovery_s = sum(found.recoveries.values()), found.recovery_s
        for said in found.figures[0]["metronome"]["components"].values():
            said.pop("image", None)
        problem = "" if found.figures == known[name] else "other results than undisturbed"
    except Exception as error:  # whatever it is, it is told
        problem = f"{type(error).__name__}: {error}"
    left = [f"container {made.name}" for made in ours(engine, all=True)] + remains()
    left += [f"network {network.name}" for network in engine.networks.list() if network.id not in networks]
    blow = striker.blow if striker.struck else "missed"
    return Outcome(name, blow, recoveries, recovery_s, problem or "; ".join(left))


def main(count: int = 20, image: str = "metronome-adapter:chaos") -> int:
    engine = docker.from_env(timeout=120)
    if not engine.images.list(image):
        build(image)
    known: dict[str, Any] = {}
    outcomes = []
    for seed in range(count):
        outcomes.append(struck(engine, image, seed, known))
        print(f"{seed}: {' '.join(map(str, outcomes[-1]))}", flush=True)
    return int(any(one.problem for one in outcomes))


if __name__ == "__main__":
    sys.exit(main(*(int(word) if word.isdigit() else word for word in sys.argv[1:])))

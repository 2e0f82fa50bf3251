"""`make chaos`: kills and freezes at seeded moments over every bundled scenario and kind of component.

    python -m tests.chaos [--count 200] [--first 0] [--requests 30] [--write]

Each run must end with the undisturbed run's results, byte for byte, and leave nothing. ``--write`` replaces the table
of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from metronome.orchestrator.scenario.loading import bundled

from .disturb import Disturber, alone, attended, drawn, in_processes
from .document import replace
from .remains import remains
from .undisturbed import run

TIMEOUT_S = 4.0


class Outcome(NamedTuple):
    """One disturbed run. ``recovery_s`` of all its recoveries together; ``problem`` is empty where all is well.

    ``blow``: the signal; ``needless`` where the component was not spoken to any more, ``missed`` where it had ended.
    """

    scenario: str
    kind: str
    blow: str
    recoveries: int
    recovery_s: float
    problem: str


def disturbed(name: str, seed: int, requests: int, known: dict[str, Any]) -> Outcome:
    """One run of a scenario with one blow. ``known``: undisturbed results by scenario, filled here."""
    scenario, kinds = in_processes(name, requests, TIMEOUT_S)
    if name not in known:
        known[name] = run(alone(scenario)).figures
    events = known[name][0]["metronome"]["events"]
    blow = drawn(seed, events, len(kinds))
    disturber, problem, recoveries, recovery_s = Disturber([blow]), "", 0, 0.0
    name_of, kind = list(kinds.items())[blow.rank]
    with attended() as last:
        try:
            found = run(scenario, instruments=[disturber])
            recoveries, recovery_s = sum(found.recoveries.values()), found.recovery_s
            problem = "" if found.figures == known[name] else "other results than undisturbed"
        except Exception as error:  # whatever it is, it is told
            problem = f"{type(error).__name__}: {error}"
    disturber.end()
    struck = blow.number.name if disturber.struck else "missed"
    if disturber.struck and not recoveries:
        needed = last[name_of] > disturber.struck[0]
        problem = problem or ("spoken to after the blow, and not recovered" if needed else "")
        struck = "needless"
    problem = problem or ", ".join(remains())
    return Outcome(name, kind, struck, recoveries, recovery_s, problem)


def table(outcomes: list[Outcome]) -> str:
    """Markdown: by kind of component and kind of blow."""
    lines = ["| component | blow | runs | recovered | results other than undisturbed | median recovery, s |"]
    lines.append("|---|---|---|---|---|---|")
    for kind in sorted({one.kind for one in outcomes}):
        for blow in sorted({one.blow for one in outcomes if one.kind == kind}):
            mine = [one for one in outcomes if (one.kind, one.blow) == (kind, blow)]
            times = [one.recovery_s / one.recoveries for one in mine if one.recoveries]
            median = f"{statistics.median(times):.2f}" if times else ""
            bad = sum(1 for one in mine if one.problem)
            lines.append(f"| {kind} | {blow} | {len(mine)} | {sum(o.recoveries for o in mine)} | {bad} | {median} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--log", type=Path, help="one line of JSON a run is added here; the table is of all of them")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    names, known, outcomes = bundled(), {}, []
    if given.log and given.log.exists():
        outcomes = [Outcome(*json.loads(line)) for line in given.log.read_text().splitlines()]
    for seed in range(given.first, given.first + given.count):
        began = time.monotonic()
        outcome = disturbed(names[seed % len(names)], seed, given.requests, known)
        outcomes.append(outcome)
        if given.log:
            with given.log.open("a") as log:
                log.write(json.dumps(outcome) + "\n")
        print(f"{seed}: {' '.join(map(str, outcome))} ({time.monotonic() - began:.1f} s)", flush=True)
    print(table(outcomes))
    scenarios = Counter(one.scenario for one in outcomes)
    said = f"{len(outcomes)} runs of {len(scenarios)} scenarios, {sum(1 for one in outcomes if one.problem)} with a problem"
    print(said)
    if given.write:
        replace("chaos", f"{table(outcomes)}\n{said}.\n")
    sys.exit(any(one.problem for one in outcomes))


if __name__ == "__main__":
    main()

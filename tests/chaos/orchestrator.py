"""The orchestrator killed, or told to end, at seeded moments over every bundled scenario, and gone on with.

    python -m tests.chaos.orchestrator [--kills 50] [--terms 20] [--first 0] [--requests 10] [--write]

A killed run is resumed (every fifth is killed again while it is) and must end with the undisturbed run's results. One
that got SIGTERM must leave results so far, marked, and be as good to resume. Nothing may be left of either.
``--write`` replaces the table of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import metronome
import yaml
from metronome.orchestrator.coupling.launch import owner
from metronome.orchestrator.errors import InputError
from metronome.orchestrator.report.result import Result
from metronome.orchestrator.scenario.loading import bundled
from metronome.orchestrator.scenario.schema import Scenario

from ..conftest import ROOT
from .disturb import LONGEST_S, alone, in_processes
from .document import replace
from .remains import mark, remains_of_a_killed_one
from .undisturbed import figures

TIMEOUT_S = 60.0  # of a component, and twice that of a run: nothing here is to be waited for
BLOCKS = (64, 1024)  # events in a block of the recording: many blocks on disk, or few and often none


class Moment(NamedTuple):
    """After how many events the signal comes, how long after that, and what the recording's blocks are."""

    event: int
    after_s: float
    block: int

    @classmethod
    def drawn(cls, seed: int, events: int) -> Moment:
        draw = random.Random(f"moment {seed}")
        after_s = draw.choice((0.0, draw.uniform(0, LONGEST_S)))
        return cls(draw.randint(1, events), after_s, draw.choice(BLOCKS))


class Ended(NamedTuple):
    """One run. ``rows``: requests that its results had before it was gone on with, in all ``of``; ``resume_s``: the wall
    time of going on with it; ``problem`` is empty where all is well."""

    scenario: str
    where: str  # its components: in processes, or in the orchestrator's own
    how: str  # SIGKILL, SIGKILL twice, SIGTERM; missed: it had ended before
    rows: int
    of: int
    resume_s: float
    problem: str


class Victims:
    """Runs of one folder; undisturbed ones are made once a scenario."""

    def __init__(self, folder: Path, requests: int) -> None:
        mark()
        self._folder, self._requests = folder, requests
        self._known: dict[str, Result] = {}

    def _undisturbed(self, name: str, scenario: Scenario) -> Result:
        if name not in self._known:
            folder = self._folder / f"whole-{name}"
            metronome.run(alone(scenario), folder)
            self._known[name] = Result.read(folder)
        return self._known[name]

    def ended(self, name: str, seed: int, number: signal.Signals) -> Ended:
        scenario, _ = in_processes(name, self._requests, TIMEOUT_S)
        whole = self._undisturbed(name, scenario)
        apart = random.Random(f"where {seed}").random() < 0.5
        folder = self._folder / f"{seed}-{number.name}"
        folder.mkdir()
        written = (scenario if apart else alone(scenario)).model_dump(mode="json", exclude_unset=True)
        (folder / "s.yaml").write_text(yaml.safe_dump(written))
        out, events = folder / "out", whole["metronome"]["events"]
        done = self._struck(Moment.drawn(seed, events), number, "run", folder / "s.yaml", "-o", out, "--record")
        how, problems, rows = number.name, [done.problem], 0
        if done.code == 0:
            how = "missed"
        elif is_complete(out):  # it came when the results were written already
            how = f"{number.name} at the end"
        elif number == signal.SIGTERM:
            rows, why = marked_so_far(out, whole)
            problems.append(why)
        elif seed % 5 == 0:
            how = "SIGKILL twice"
            again = self._struck(Moment.drawn(-seed, max(1, events // 4)), number, "run", "--resume", out)
            problems.append(again.problem)
        began = time.monotonic()
        if not is_complete(out):
            problems.append(self._struck(Moment(0, 0, BLOCKS[1]), number, "run", "--resume", out, code=0).problem)
        resume_s = time.monotonic() - began
        if not any(problems):
            same = figures(Result.read(out))[0] == figures(whole)[0]
            problems.append("" if same else "other results than undisturbed")
        where = "processes" if apart else "its own"
        total = len(whole.requests.rows)
        return Ended(name, where, how, rows, total, resume_s, "; ".join(filter(None, problems)))

    def _struck(self, moment: Moment, number: int, *arguments: Any, code: int | None = None) -> Struck:
        """A run of the command line with that signal, and what is left of it. ``code`` is the exit code it must have;
        None: that of the signal, or 0 where it was quicker."""
        command = [sys.executable, "-W", "ignore", "-m", "tests.chaos.victim", *map(str, moment[:2])]
        command += [str(int(number)), str(moment.block), *map(str, arguments), "--quiet"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        owned_by = f"{process.pid}-{owner._started(process.pid)}"
        try:
            _, said = process.communicate(timeout=2 * TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return Struck(-1, f"did not end within {2 * TIMEOUT_S:.0f} s")
        allowed = (0, -number, 128 + number) if code is None else (code,)
        problems = remains_of_a_killed_one(owned_by)
        if process.returncode not in allowed:
            problems.insert(0, f"exit code {process.returncode}: {said.strip()[-300:]}")
        return Struck(process.returncode, "; ".join(problems))


class Struck(NamedTuple):
    """How a process ended: its exit code (negative: the signal's number), and what is wrong with that."""

    code: int
    problem: str


def is_complete(out: Path) -> bool:
    """Whether there are results of a whole run."""
    try:
        return Result.read(out).status == "complete"
    except InputError:
        return False


def marked_so_far(out: Path, whole: Result) -> tuple[int, str]:
    """(requests in the results of a run that was told to end, what is wrong with them)."""
    try:
        found = Result.read(out)
    except InputError as error:
        return 0, str(error)
    rows = found.requests.rows
    if found.status != "interrupted":
        return len(rows), f"its status is {found.status}"
    strange = [row for row in rows if row not in whole.requests.rows]
    return len(rows), f"{len(strange)} requests other than undisturbed" if strange else ""


def table(ends: list[Ended]) -> str:
    lines = ["| signal | components in | runs | results other than undisturbed, or anything left | median resume, s |"]
    lines.append("|---|---|---|---|---|")
    for how, where in sorted({(one.how, one.where) for one in ends}):
        mine = [one for one in ends if (one.how, one.where) == (how, where)]
        times = [one.resume_s for one in mine if one.how in ("SIGKILL", "SIGKILL twice", "SIGTERM")]
        median = f"{statistics.median(times):.1f}" if times else ""
        lines.append(f"| {how} | {where} | {len(mine)} | {sum(1 for one in mine if one.problem)} | {median} |")
    told = [one for one in ends if one.how == "SIGTERM"]
    lines += ["", f"{len(ends)} runs of {len({one.scenario for one in ends})} scenarios."]
    if told:
        share = statistics.median(one.rows / one.of for one in told)
        lines[-1] += f" Results so far had {share:.0%} of the requests, median, all as in the undisturbed run."
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--terms", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first run")
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    names, ends = bundled(), []
    with tempfile.TemporaryDirectory() as folder:
        victims = Victims(Path(folder), given.requests)
        wanted = [(signal.SIGKILL, seed) for seed in range(given.first, given.first + given.kills)]
        wanted += [(signal.SIGTERM, seed) for seed in range(given.first, given.first + given.terms)]
        for number, seed in wanted:
            ends.append(victims.ended(names[seed % len(names)], seed, number))
            print(f"{seed}: {' '.join(map(str, ends[-1]))}", flush=True)
    print(table(ends))
    if given.write:
        replace("orchestrator", table(ends))
    sys.exit(any(one.problem for one in ends))


if __name__ == "__main__":
    main()

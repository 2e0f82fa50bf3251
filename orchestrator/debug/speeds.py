"""What a request's latency owes to how fast components are: between which bounds it would fall if they were others.

All of it is read off this run, of which only the components are others. Let i be the request that is asked about:

- *Steps.* Every step of i is priced by the old components and by the new: the difference is gained, or lost.
- *Moves.* K and V of i alone, by the old components and by the new. What it waited for others on the way shrinks with
  it at least: between the same part of what was taken, and all but what they take alone.
- *Waits.* i waits not at all at best. At worst longer than it did, by what every step of others has become slower that
  it was not in, since its arrival.
- *Company.* Others come and go at other times. A step of i may be as long as the instance's longest without a prompt
  or as short as its shortest (*spared*, *met*), be spared others' prompts, and meet those of requests that waited or
  came while i was there.
- *Alignment.* As in `charges.py`, for each instance that i was on.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..simulation import Simulation
from .beside import Change, simulation
from .charges import Ledger, named, prompts
from .session import DebugSession
from .shapes import Pricer
from .why import LatencySplit


@dataclass(slots=True)
class Speed:
    """What other components change of a request's latency, ps, in parts (see the module)."""

    steps: int = 0
    moves_least: int = 0
    moves_most: int = 0
    waits: int = 0
    slower: int = 0
    spared: int = 0
    met: int = 0
    alignment: int = 0

    def parts(self) -> dict[str, int]:
        """Those that are not nothing, by name."""
        return named(self)

    @property
    def least_ps(self) -> int:
        return self.steps + self.moves_least - self.slower - self.met - self.alignment

    @property
    def most_ps(self) -> int:
        return self.steps + self.moves_most + self.waits + self.spared + self.alignment


def speed(session: DebugSession, ledger: Ledger, request: int, change: Change) -> Speed | None:
    """Of a change of components alone; None where K and V leave layer by layer, so that nobody can tell what they take.

    Raises InputError, ComponentFailure.
    """
    answer, ways = ledger.answers[request], ledger.witness.ways.get(request, [])
    if len(ways) > 1:
        return None
    found = Speed(alignment=ledger.alignment(answer) * len({step.instance for step in answer.steps}))
    with simulation(session, Change()) as old, simulation(session, change) as new:
        pricer = Pricer(new)
        windows = ledger.windows(answer)
        for step in ledger.steps:
            begin, end = windows.get(step.instance, (0, 0))
            if not begin <= step.start_ps < end:
                continue
            batches = [shape.batch for shape in ledger.shapes.of.get((step.instance, step.number), ())]
            gained = ledger.pricer.takes(step.instance, batches) - pricer.takes(step.instance, batches)
            if request in step.requests:
                found.steps += gained
            else:
                found.slower += max(0, -gained)
        for source, target, took in ways:
            before, after = (_alone(one, source, target, answer.prompt) for one in (old, new))
            ends = took - after, took * (before - after) // before if before else 0
            found.moves_least, found.moves_most = min(ends), max(ends)
    for parts in (answer.before, answer.after):
        found.waits += sum(took for (what, _), took in parts.items() if what == "waiting")
    _company(found, ledger, answer)
    return found


def _alone(idle: Simulation, source: str, target: str, tokens: int) -> int:
    """What K and V of that many tokens take between two replicas when nothing else moves."""
    ends: list[int] = []
    start = idle.kernel.now_ps
    idle.mover.move(source, target, tokens, None, lambda: ends.append(idle.kernel.now_ps))
    idle.kernel.run()
    return ends[0] - start


def _company(found: Speed, ledger: Ledger, answer: LatencySplit) -> None:
    request, windows = answer.request, ledger.windows(answer)
    for instance in windows:
        plain = [step.took_ps for step in ledger.steps if step.instance == instance and not prompts(step)]
        for step in answer.steps:
            if step.instance == instance and plain and not prompts(step):
                found.spared += max(0, step.took_ps - min(plain))
                found.met += max(0, max(plain) - step.took_ps)
    ended = ledger.arrived_ps[request] + answer.total_ps
    for step in ledger.steps:
        others = prompts(step) - {request}
        if request in step.requests:
            found.spared += sum(max(ledger.cost(step, one)) for one in others)
        elif step.instance in windows:
            met = [one for one in others if ledger.arrived_ps.get(one, ended) < ended and _near(ledger, answer, one)]
            found.met += sum(max(ledger.cost(step, one)) for one in met)


def _near(ledger: Ledger, answer: LatencySplit, other: int) -> bool:
    """Whether the two were there at the same time."""
    one = ledger.answers.get(other)
    return one is not None and ledger.arrived_ps[other] + one.total_ps > ledger.arrived_ps[answer.request]

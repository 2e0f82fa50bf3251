"""What a request's latency would have been otherwise: without another request, or with another value of the scenario.

The other run is made, not guessed: the scenario with the change, from its beginning. Until the event at which the two
part they are the same, so the change leaves the past before it as it was. Beside it stands what this run alone says:
between which bounds the latency would fall (`charges.py`, `speeds.py`), or by how much at most (`alone.py`). Where the
other run does not keep to them, it says what is otherwise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ..errors import InputError
from ..simulation import Simulation
from .alone import Alone, alone, served_by
from .beside import Change, play, simulation
from .charges import Charge, Ledger, ledger
from .session import DebugSession
from .speeds import Speed, speed
from .why import LatencySplit, split
from .witness import Witness

Key = tuple[str, str]  # what, who
Bounds = Charge | Speed | Alone
HARDWARE = ("cluster", "components", "devices")


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """A request's latency in this run (``here``) and in the other (``there``), each in parts that add up to it.

    ``parts_at``: the first event of this run that the other does not have, or has otherwise; None where all that are
    known are the same. ``parts_ps`` is when. ``bounds``: what this run says the change would gain; None where it says
    nothing of it. ``elsewhere``: other requests that other engines serve there, until this one's end.
    """

    request: int
    change: Change
    here: LatencySplit
    there: LatencySplit
    parts_at: int | None
    parts_ps: int | None
    bounds: Bounds | None
    elsewhere: tuple[int, ...]

    @property
    def saved_ps(self) -> int:
        """By how much the latency is less in the other run; negative where it is more."""
        return self.here.total_ps - self.there.total_ps

    @property
    def as_blamed(self) -> bool | None:
        """Whether that is within the bounds; None without any."""
        if self.bounds is None:
            return None
        least = self.bounds.least_ps
        return (least is None or least <= self.saved_ps) and self.saved_ps <= self.bounds.most_ps

    def parts(self) -> dict[Key, tuple[int, int]]:
        """By (what, who) how long here and there, ps, the largest differences first. They add up to the latencies."""
        here, there = whole(self.here), whole(self.there)
        both = {key: (here[key], there[key]) for key in {*here, *there}}
        return dict(sorted(both.items(), key=lambda item: (-abs(item[1][0] - item[1][1]), -item[1][0], item[0])))

    def otherwise(self) -> list[str]:
        """What the bounds take to be as here and is not, in words."""
        found = []
        here, there = served_by(self.here), served_by(self.there)
        if here != there:
            found.append(f"it is served by {', '.join(there)} there, not by {', '.join(here)}")
        if self.here.cached != self.there.cached:
            had, has = self.here.cached or 0, self.there.cached or 0
            found.append(f"{has} tokens of its prompt are in the prefix cache there, not {had}")
        if self.elsewhere:
            more = f" and {len(self.elsewhere) - 1} more are" if len(self.elsewhere) > 1 else " is"
            found.append(f"request {self.elsewhere[0]}{more} served by other engines there")
        if self.as_blamed is False and not found:
            (what, who), (before, after) = max(self.parts().items(), key=lambda item: item[1][1] - item[1][0])
            if after > before:
                found.append(f"others take its place: {what} {who} is longer there")
            else:
                found.append("others are spared by it there, and spare it in turn")
        return found


def whole(answer: LatencySplit) -> Counter[Key]:
    """Before and after the first token together."""
    return answer.before + answer.after


def counterfactual(session: DebugSession, request: int, change: Change, books: Ledger | None = None) -> Counterfactual:
    """``books``: the ledger of the run up to here, if it is at hand.

    Raises InputError for a request that is not done by now, or that the other run does not serve, and for a change that
    cannot be; ComponentFailure and the like where the other run fails.
    """
    if books is None:
        with ledger(session) as books:
            return counterfactual(session, request, change, books)
    here = books.answer(request)
    if here.failed:
        raise InputError("debugger", "request", request, f"was not served ({here.failed}); ask about one that was")
    if not here.done:
        raise InputError("debugger", "request", request, "is not done yet; go on to its end, then ask")
    _check(books, request, change)
    with simulation(session, change) as there:
        bounds: Bounds | None = None
        if len(change.without) == 1 and not change.values:
            (bounds,) = books.charges(request, change.without[0])
        elif not change.without and _only_hardware(session, there, change):
            bounds = speed(session, books, request, change)
        if bounds is None:
            bounds = alone(session, books, request, change)
        witness = Witness(there.mover.networks, request)
        there.instruments.add(witness)
        parts_at = play(session, there, request)
        witness.close(there.kernel.now_ps)
        found = split(there, witness, request)
    if isinstance(bounds, Alone) and bounds.by not in (None, served_by(found)):
        bounds = None
    parts_ps = None if parts_at is None else session.row(parts_at).time_ps
    mine, theirs = books.witness.served, witness.served
    elsewhere = [other for other, way in theirs.items() if other != request and way != mine.get(other, way)[: len(way)]]
    return Counterfactual(request, change, here, found, parts_at, parts_ps, bounds, tuple(sorted(elsewhere)))


def _check(books: Ledger, request: int, change: Change) -> None:
    for other in change.without:
        if other == request:
            raise InputError("debugger", "without", other, "is the request that is asked about")
        books.answer(other)


def _only_hardware(session: DebugSession, there: Simulation, change: Change) -> bool:
    """Whether engines have what they have here, and only what components are told differs, not which models they are:
    another model may share a link in another way."""
    models = [[(spec.name, spec.model) for spec in one.specs] for one in (session.simulation, there)]
    if models[0] != models[1]:
        return False
    mine = [(unit.names, unit.blocks, unit.max_model_len) for unit in session.simulation.units]
    same = mine == [(unit.names, unit.blocks, unit.max_model_len) for unit in there.units]
    return same and all(path.partition(".")[0] in HARDWARE for path in change.values)

"""Blame held against what happens: the blamed cause of random requests is removed, and the run made again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from metronome.orchestrator.debug.beside import Change
from metronome.orchestrator.debug.charges import Ledger, ledger
from metronome.orchestrator.debug.counterfactual import Counterfactual, counterfactual, whole

from .scenarios import opened

OVER = re.compile(r"K and V over uplink-(\d)")
FAST_GB_S = 400  # a link that takes next to nothing


@dataclass(frozen=True, slots=True)
class Case:
    """A request of a scenario, and what became of it without what it was most slowed by."""

    kind: str
    seed: int
    found: Counterfactual

    @property
    def comparable(self) -> bool:
        """Whether the other run serves it by the same engines, with the same hits in the prefix cache."""
        return not self.found.otherwise() or (self.found.as_blamed is False and "served" not in self.said)

    @property
    def said(self) -> str:
        return "; ".join(self.found.otherwise())

    def __str__(self) -> str:
        found, bounds = self.found, self.found.bounds
        if bounds is None:
            raise AssertionError(f"{found.change} has no bounds")
        low, high, fell = (time_ps / 10**9 for time_ps in (bounds.least_ps, bounds.most_ps, found.saved_ps))
        verdict = "" if found.as_blamed else "not so"
        return (
            f"{self.kind:<8} {self.seed:>3} request {found.request:>3} {found.here.total_ps / 10**9:9.1f} ms "
            f"{found.change!s:<44} {-fell:+9.1f}, said {-high:+9.1f} to {-low:+9.1f}  {verdict} {self.said}"
        )


def cases(kind: str, seed: int, requests: int, wanted: int) -> Iterator[Case]:
    """``wanted`` random requests of one scenario that somebody or something has slowed; fewer if there are not so many."""
    with opened(kind, seed, requests) as session:
        session.run()
        with ledger(session) as books:
            order = sorted(books.answers)
            Random(seed).shuffle(order)
            for request in order:
                change = most_blamed(books, request)
                if change is not None:
                    yield Case(kind, seed, counterfactual(session, request, change, books))
                    wanted -= 1
                if not wanted:
                    return


def most_blamed(books: Ledger, request: int) -> Change | None:
    """Whoever costs it most, or the link if that does."""
    charges = books.charges(request)
    links = {int(m[1]): took for (_, who), took in whole(books.answers[request]).items() if (m := OVER.match(who))}
    link = max(links, key=lambda number: links[number], default=None)
    if link is not None and (not charges or links[link] > charges[0].blamed_ps):
        return Change((), {f"cluster.networks.{link}.bandwidth_gb_s": FAST_GB_S})
    return Change((charges[0].request,)) if charges else None

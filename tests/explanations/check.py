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
        said = "nothing said"
        if bounds is not None:
            most, least = (
                None if end is None else f"{-end / 10**9:+9.1f}" for end in (bounds.most_ps, bounds.least_ps)
            )
            said = f"said {most} " + (f"to {least}" if least else "at most")
        verdict = "not so" if found.as_blamed is False else ""
        return (
            f"{self.kind:<8} {self.seed:>3} request {found.request:>3} {found.here.total_ps / 10**9:9.1f} ms "
            f"{found.change!s:<44} {-found.saved_ps / 10**9:+9.1f}, {said}  {verdict} {self.said}"
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


def others(kind: str, seed: int, requests: int, wanted: int) -> Iterator[Case]:
    """``wanted`` random requests under changes of which this run says no more than what they gain at most."""
    with opened(kind, seed, requests) as session:
        session.run()
        random = Random(f"others {seed}")
        with ledger(session) as books:
            for request in random.sample(sorted(books.answers), wanted):
                yield Case(
                    kind, seed, counterfactual(session, request, _any_other(random, kind, books, request), books)
                )


def _any_other(random: Random, kind: str, books: Ledger, request: int) -> Change:
    """A limit, a policy, several requests, or several of these together."""
    rest = sorted(set(books.answers) - {request})
    engine = "instances.0.engine"
    limit = {f"{engine}.max_num_seqs": random.choice([2, 4, 16, 64])}
    budget = {f"{engine}.max_num_batched_tokens": random.choice([128, 512, 4096])}
    policy: dict[str, object] = {f"{engine}.scheduling_policy": random.choice(["shortest-job-first", "priority"])}
    if kind == "link":
        policy = {"router.policy": random.choice(["round-robin", "least-loaded"])}
    several = tuple(random.sample(rest, random.randint(2, 12)))
    changes = [Change((), limit), Change((), budget), Change((), policy), Change(several)]
    return random.choice([*changes, Change(several, {**limit, **policy}), Change((), {**budget, **policy})])


def most_blamed(books: Ledger, request: int) -> Change | None:
    """Whoever costs it most, or the link if that does."""
    charges = books.charges(request)
    links = {int(m[1]): took for (_, who), took in whole(books.answers[request]).items() if (m := OVER.match(who))}
    link = max(links, key=lambda number: links[number], default=None)
    if link is not None and (not charges or links[link] > charges[0].blamed_ps):
        return Change((), {f"cluster.networks.{link}.bandwidth_gb_s": FAST_GB_S})
    return Change((charges[0].request,)) if charges else None

"""The long form: 100 random requests over 5 random scenarios, or ``--rounds`` of it with other seeds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from statistics import median

from .check import Case, cases, others
from .scenarios import KINDS

REQUESTS, WANTED = 60, 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.explanations")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found: list[Case] = []
    for seed in range(options.seed, options.seed + options.rounds):
        for kind in KINDS:
            for case in cases(kind, seed, REQUESTS, WANTED):
                print(case, flush=True)
                found.append(case)
    print(*summary(found), sep="\n")
    more = [case for seed in range(options.seed, options.seed + options.rounds) for case in other_changes(seed)]
    print(*ends(more), sep="\n")
    return 0 if all(case.found.as_blamed or case.said for case in (*found, *more) if case.found.bounds) else 1


def other_changes(seed: int) -> Iterator[Case]:
    """Limits, policies, several requests and several changes together."""
    for kind in KINDS:
        for case in others(kind, seed, REQUESTS, WANTED):
            print(case, flush=True)
            yield case


def ends(found: list[Case]) -> list[str]:
    """What the page says of changes that have one end only."""
    said = [case for case in found if case.found.bounds]
    kept = [case for case in said if case.found.as_blamed]
    near = [
        case.found.saved_ps / case.found.bounds.most_ps
        for case in kept
        if case.found.bounds and case.found.saved_ps > 0
    ]
    return [
        f"of {len(found)} other changes {len(said)} were said to gain no more than so much, and {len(kept)} did not",
        f"{len(said) - len(kept)} did, and the answers say why",
        f"where the latency fell ({len(near)} times) it did by {median(near):.0%} of that (median), {max(near):.0%} at most",
    ]


def summary(found: list[Case]) -> list[str]:
    """What the page says of a round."""
    within = [case for case in found if case.found.as_blamed]
    alike = [case for case in found if case.comparable]
    sure = [case for case in alike if case.found.bounds and (case.found.bounds.least_ps or 0) > 0]
    both = [(case, b.most_ps, b.least_ps) for case in found if (b := case.found.bounds) and b.least_ps is not None]
    widths = [(most - least) / case.found.here.total_ps for case, most, least in both]
    return [
        f"{len(within)} of {len(found)} fell by what was said",
        f"{len(alike)} were served by the same engines with the same hits, {sum(c in within for c in alike)} of them so",
        f"{len(found) - len(within)} did not, and the answers say why",
        f"of {len(sure)} it was said that they surely fall: {sum(c.found.saved_ps > 0 for c in sure)} did",
        f"the bounds are {median(widths):.0%} of the latency apart (median)",
    ]


if __name__ == "__main__":
    sys.exit(main())

"""Who gets how much of which link: max-min fairness by progressive filling.

Bertsekas and Gallager, "Data Networks", section 6.5.2: raise everybody's rate together; where a link
is full, whoever crosses it stops there; go on with the rest. The rate of a bundle is that of its
largest flow; its weight on a link is how many such flows' worth it puts there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Weights = Mapping[int, float]


def alone(weights: Weights, capacity: Sequence[float]) -> float:
    """The rate of a bundle that shares with nobody."""
    return min(capacity[link] / weight for link, weight in weights.items())


def fair_rates(bundles: Sequence[Weights], caps: Sequence[float], capacity: Sequence[float]) -> list[float]:
    """The max-min fair rate of each bundle (in the unit of ``capacity``), none above its own cap."""
    rates = [0.0] * len(bundles)
    left: dict[int, float] = {}
    load: dict[int, float] = {}  # of those still rising
    users: dict[int, list[int]] = {}
    rising_on: dict[int, int] = {}
    for i, weights in enumerate(bundles):
        for link, weight in weights.items():
            left[link] = capacity[link]
            load[link] = load.get(link, 0.0) + weight
            users.setdefault(link, []).append(i)
            rising_on[link] = rising_on.get(link, 0) + 1
    rising = dict.fromkeys(range(len(bundles)))
    while rising:
        level, stopped = min(caps[i] for i in rising), [-1]
        for link, total in load.items():
            at = max(left[link], 0.0) / total
            if at < level:
                level, stopped = at, users[link]
        for i in [i for i in rising if caps[i] <= level] if stopped == [-1] else [i for i in stopped if i in rising]:
            rates[i] = level
            del rising[i]
            for link, weight in bundles[i].items():
                left[link] -= level * weight
                rising_on[link] -= 1
                if rising_on[link]:
                    load[link] -= weight
                else:
                    del load[link]
    return rates

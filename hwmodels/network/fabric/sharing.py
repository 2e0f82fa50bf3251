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
    load: dict[int, float] = {}
    users: dict[int, list[int]] = {}
    for i, weights in enumerate(bundles):
        for link, weight in weights.items():
            left[link] = capacity[link]
            load[link] = load.get(link, 0.0) + weight
            users.setdefault(link, []).append(i)
    rising = set(range(len(bundles)))
    while rising:
        fullest = min(((max(left[link], 0.0) / total, link) for link, total in load.items()), default=None)
        lowest_cap = min(caps[i] for i in rising)
        if fullest is None or lowest_cap <= fullest[0]:
            stopped = [i for i in rising if caps[i] == lowest_cap]
            level = lowest_cap
        else:
            level = fullest[0]
            stopped = [i for i in users[fullest[1]] if i in rising]
        for i in stopped:
            rates[i] = level
            rising.discard(i)
            for link, weight in bundles[i].items():
                left[link] -= level * weight
                load[link] -= weight
                if not any(user in rising for user in users[link]):
                    load.pop(link, None)
    return rates

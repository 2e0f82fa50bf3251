"""Energy and work of whole seconds that are over, a few numbers for each, where the rows of all steps would be many.

In a second that is over it no more matters when in it a device worked: a series has bins of whole seconds. What is not
lost is for how long some device of a node did, and when one may have fallen asleep.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..coupling.spent import WORKING, Entries, Spent
from ..scenario.schema import Scenario
from ..sums import by_key
from ..units import PS_PER_S
from .account import Times, merged
from .devices import states
from .groups import Group, Rows, shared_out

MOST_ROWS = 1 << 19  # of steps, before those of seconds that are over become numbers of these

Key = tuple[str, str]  # component, group
Stretches = tuple[Times, Times]
_NO_TIMES: Times = np.empty(0, dtype=np.int64)
NONE: Stretches = (_NO_TIMES, _NO_TIMES)


@dataclass(frozen=True, slots=True)
class Past:
    """Up to ``closed_ps``. ``taken``: how many rows of each entry are in it.

    Attributes:
        energy: seconds, and pJ in each, of components by group.
        held: when devices of a group worked, together with pauses that are too short to fall asleep in.
        working: of each node, from the beginning of each second on, for how long any of its devices worked in it.
    """

    closed_ps: int = 0
    taken: Mapping[Key, int] = field(default_factory=dict)
    energy: Mapping[Key, tuple[Times, Times]] = field(default_factory=dict)
    held: Mapping[Key, Stretches] = field(default_factory=dict)
    working: Mapping[str, Stretches] = field(default_factory=dict)

    def left(self, of: Key, entries: Entries) -> Rows:
        """Rows that are not in it; a last one may be torn by Ctrl-C."""
        first, rows = self.taken.get(of, 0) - entries.forgotten, min(map(len, entries.columns))
        since, until, energy = (np.array(column[first:rows], dtype=np.int64) for column in entries.columns)
        return since, until, energy

    def rows(self, component: str) -> list[Rows]:
        """A row a second, of each group."""
        mine = [by_key(*self.energy[key]) for key in sorted(self.energy) if key[0] == component]
        return [(second * PS_PER_S, (second + 1) * PS_PER_S, energy) for second, energy in mine]

    def closed(self, scenario: Scenario, groups: Sequence[Group], spent: Spent, until_ps: int) -> Past:
        """With the whole seconds up to then. No step that is not among the rows began before ``until_ps``."""
        end_ps = until_ps // PS_PER_S * PS_PER_S
        if end_ps <= self.closed_ps:
            return self
        taken, over, all_rows = dict(self.taken), dict[Key, Rows](), dict[Key, Rows]()
        for of, entries in spent.of.items():
            if of[1]:  # steps; the others are few
                rows = self.left(of, entries)
                count = int(np.searchsorted(np.maximum.accumulate(rows[1]), end_ps, side="right"))
                since, until, energy = (column[:count] for column in rows)
                over[of], all_rows[of] = (since, until, energy), rows
                taken[of] = self.taken.get(of, 0) + count
        by_second = dict(self.energy)
        shared = shared_out(over, groups)
        for key, rows in shared.items():
            by_second[key] = _joined(by_second.get(key, NONE), _by_second(rows))
        held, working = dict(self.held), dict(self.working)
        begun = shared_out(all_rows, groups)
        for node in scenario.cluster.nodes:
            drawn, name = states(scenario, node), node.name + WORKING
            for key in [key for key in shared if key[0] == name and drawn and drawn.hold_ps is not None]:
                hold = (drawn.hold_ps or 0) if drawn else 0
                times = _joined(held.get(key, NONE), shared[key][:2])
                held[key] = _stretches((begin, end - hold) for begin, end in merged(*times, hold))
            mine = [rows for (component, _), rows in begun.items() if component == name]
            if mine:
                since, until = (np.concatenate(columns) for columns in list(zip(*mine, strict=True))[:2])
                inside = since < end_ps
                since, until = np.maximum(since[inside], self.closed_ps), np.minimum(until[inside], end_ps)
                busy = _working(merged(since, until))
                working[node.name] = _joined(working.get(node.name, NONE), busy)
        return Past(end_ps, taken, by_second, held, working)


def _joined(one: tuple[Times, Times], other: Sequence[Times]) -> tuple[Times, Times]:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def _stretches(pairs: Iterable[tuple[int, int]]) -> Stretches:
    both = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _by_second(rows: Rows) -> tuple[Times, Times]:
    """Seconds and the energy in each, of rows that were even; to the picojoule."""
    since, until, energy = rows
    first, last = since // PS_PER_S, np.maximum(since, until - 1) // PS_PER_S
    single = first == last
    seconds, energies = [first[single]], [energy[single]]
    for begin, end, whole, second, final in zip(*(c[~single].tolist() for c in (*rows, first, last)), strict=True):
        places = range(second, final + 1)
        upto = [whole * (min((place + 1) * PS_PER_S, end) - begin) // (end - begin) for place in places]
        seconds.append(np.array(places, dtype=np.int64))
        energies.append(np.diff(np.array(upto, dtype=np.int64), prepend=0))
    return by_key(np.concatenate(seconds), np.concatenate(energies))


def _working(stretches: Sequence[tuple[int, int]]) -> Stretches:
    """For how long in each second, as one stretch from its beginning."""
    since, until = _stretches(stretches)
    seconds, lasts = _by_second((since, until, until - since))
    return seconds * PS_PER_S, seconds * PS_PER_S + lasts

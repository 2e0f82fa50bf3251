"""Energy, booked when it is spent: by whom, over which time, of whom.

What components say of their operations, above what their hardware draws awake with nothing to do
(`metronome.hwmodels.interface.Completion`). A step's operations that are only asked about are one entry a component,
from the step's begin to its end. Operations that share the clock, and K and V on their way, are one entry for all that
begin and end in the same second: however many there are, they take no more room.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..errors import ComponentFailure
from ..units import PS_PER_S

#: Of these an entry also says when they worked, even if they say no energies.
WORKING = ".accelerators"
MOST_PJ = 2**63 - 1  # of an entry: 9.2 MJ


@dataclass(slots=True)
class Entries:
    """Columns: from when to when (ps), and how much (pJ) ``component`` has spent. So many first rows are
    ``forgotten``."""

    component: str
    since_ps: array[int] = field(default_factory=lambda: array("q"))
    until_ps: array[int] = field(default_factory=lambda: array("q"))
    energy_pj: array[int] = field(default_factory=lambda: array("q"))
    forgotten: int = 0

    def forget(self, rows: int) -> None:
        """All before that one, by its number among all that there were. Ctrl-C finds this done or not yet: it is told
        of at calls and loops alone."""
        count = rows - self.forgotten
        del self.since_ps[:count]
        del self.until_ps[:count]
        del self.energy_pj[:count]
        self.forgotten = rows

    @property
    def columns(self) -> tuple[array[int], array[int], array[int]]:
        return self.since_ps, self.until_ps, self.energy_pj

    def add(self, since_ps: int, until_ps: int, energy_pj: int) -> None:
        """Raises ComponentFailure for more than an entry can hold."""
        self._check(energy_pj)
        self.since_ps.append(since_ps)
        self.until_ps.append(until_ps)
        self.energy_pj.append(energy_pj)

    def extend(self, since_ps: Iterable[int], until_ps: Iterable[int], energies_pj: Sequence[int]) -> None:
        """As `add`, of several."""
        self._check(max(energies_pj))
        self.since_ps.extend(since_ps)
        self.until_ps.extend(until_ps)
        self.energy_pj.extend(energies_pj)

    def gather(self, since_ps: int, until_ps: int, energy_pj: int) -> None:
        """As `add`, together with what was spent in the same second."""
        if not energy_pj:
            return
        second = since_ps // PS_PER_S
        if (
            self.until_ps
            and self.since_ps[-1] // PS_PER_S == second == self.until_ps[-1] // PS_PER_S == until_ps // PS_PER_S
        ):
            self._check(self.energy_pj[-1] + energy_pj)
            self.since_ps[-1] = min(self.since_ps[-1], since_ps)
            self.until_ps[-1] = max(self.until_ps[-1], until_ps)
            self.energy_pj[-1] += energy_pj
        else:
            self.add(since_ps, until_ps, energy_pj)

    def _check(self, energy_pj: int) -> None:
        if energy_pj > MOST_PJ:
            what = f"has spent {energy_pj} pJ on one step, or in one second: at most {MOST_PJ} (9.2 MJ) can be booked"
            raise ComponentFailure(self.component, what)


class Spent:
    """``of[component, instance]``; "" is no instance's: operations between several, and of shared components."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], Entries] = {}

    @property
    def rows(self) -> int:
        """That are not forgotten."""
        return sum(len(entries.until_ps) for entries in self.of.values())

    @property
    def ever(self) -> int:
        """Rows that there were."""
        return self.rows + sum(entries.forgotten for entries in self.of.values())

    def entries(self, component: str, instance: str = "") -> Entries:
        found = self.of.get((component, instance))
        if found is None:
            found = self.of[component, instance] = Entries(component)
        return found

    def step(self, instance: str, since_ps: int, until_ps: int, energies_pj: Iterable[tuple[str, int]]) -> None:
        """What components have spent on one step."""
        for component, energy_pj in energies_pj:
            if energy_pj or component.endswith(WORKING):
                self.entries(component, instance).add(since_ps, until_ps, energy_pj)

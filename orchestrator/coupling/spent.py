"""Energy, booked when it is spent: by whom, over which time, of whom.

What components say of their operations, above what their hardware draws awake with nothing to do
(`metronome.hwmodels.interface.Completion`). A step's operations that are only asked about are one entry a component,
from the step's begin to its end; an operation that shares the clock, and K and V on their way, are one each.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Entries:
    """Columns: from when to when (ps), and how much (pJ)."""

    since_ps: array[int] = field(default_factory=lambda: array("q"))
    until_ps: array[int] = field(default_factory=lambda: array("q"))
    energy_pj: array[int] = field(default_factory=lambda: array("q"))

    @property
    def columns(self) -> tuple[array[int], array[int], array[int]]:
        return self.since_ps, self.until_ps, self.energy_pj

    def add(self, since_ps: int, until_ps: int, energy_pj: int) -> None:
        self.since_ps.append(since_ps)
        self.until_ps.append(until_ps)
        self.energy_pj.append(energy_pj)


class Spent:
    """``of[component, instance]``; "" is no instance's: operations between several, and of shared components."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], Entries] = {}

    def entries(self, component: str, instance: str = "") -> Entries:
        found = self.of.get((component, instance))
        if found is None:
            found = self.of[component, instance] = Entries()
        return found

    def step(self, instance: str, since_ps: int, until_ps: int, energies_pj: Iterable[tuple[str, int]]) -> None:
        """What components have spent on one step."""
        for component, energy_pj in energies_pj:
            self.entries(component, instance).add(since_ps, until_ps, energy_pj)

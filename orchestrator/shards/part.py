"""What a worker has of a run when its part is over, and how parts become the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace

from ..coupling.costs import Usage
from ..coupling.spent import Entries
from ..coupling.uses import Counted
from ..instruments.recorder import Failure, Kept
from ..serving.interface import EngineCounts
from ..simulation import Simulation


@dataclass(frozen=True, slots=True)
class Part:
    """Of the instances that a worker had.

    Attributes:
        counts: of their engines, by replica.
        needed: of each component, by name: how often, and of what.
        arrived, reports: requests that came, of everybody, and how often loads were reported; ``events`` without these.
        notes, prioritised: of how the workload was read (`Reading`).
    """

    kept: Kept
    failed: Sequence[Failure]
    counts: dict[int, EngineCounts]
    needed: dict[str, tuple[Usage, Counted | None]]
    spent: dict[tuple[str, str], Entries]
    arrived: int
    reports: int
    outstanding: int
    events: int
    now_ps: int
    notes: list[str]
    prioritised: bool

    @classmethod
    def of(cls, simulation: Simulation) -> Part:
        """Of a run that is over."""
        dispatcher, ports, router = simulation.dispatcher, simulation.ports, simulation.availability.reports
        reports = router.count if router else 0
        return cls(
            simulation.recorder.so_far(),
            simulation.recorder.failed,
            {
                one.number: replace(one.engine.counts)
                for one in simulation.replicas
                if one.number not in dispatcher.elsewhere
            },
            {spec.name: ports.counted(spec.name) for spec in simulation.specs},
            ports.spent.of,
            dispatcher.arrived,
            reports,
            dispatcher.outstanding,
            simulation.kernel.events - dispatcher.arrived - reports,
            simulation.kernel.now_ps,
            simulation.reading.notes,
            simulation.reading.prioritised,
        )


def put_together(simulation: Simulation, parts: Sequence[Part]) -> None:
    """Make a run that has not begun what it would be at its end, from all its parts."""
    first, kernel, ports = parts[0], simulation.kernel, simulation.ports
    arrived = max(part.arrived for part in parts)
    simulation.recorder.put(
        Kept.together([part.kept for part in parts]), [one for part in parts for one in part.failed]
    )
    kernel.now_ps = max(part.now_ps for part in parts)
    kernel.events = arrived + max(part.reports for part in parts) + sum(part.events for part in parts)
    simulation.dispatcher.arrived = arrived
    simulation.dispatcher.outstanding = sum(part.outstanding for part in parts)
    simulation.reading.notes, simulation.reading.prioritised = first.notes, first.prioritised
    for part in parts:
        for number, counts in part.counts.items():
            mine = simulation.replicas[number].engine.counts
            for field, value in zip(fields(counts), astuple(counts), strict=True):
                setattr(mine, field.name, value)
        for name, (usage, counted) in part.needed.items():
            ports.add(name, usage, counted)
        ports.spent.of.update(part.spent)

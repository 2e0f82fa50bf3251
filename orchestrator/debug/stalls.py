"""How long an accelerator that asks others at ports (an island) was stalled by them, of what its operations took.

Its own work is what an operation takes if all its requests are answered at once; the rest it waited. So the two add up
to what the run had, also where a surrogate, a calibration or a slow device has made that of the island's own answer.
Where there is no island to play (a recording, one that is hosted as a whole) nothing is told apart.
"""

from __future__ import annotations

from metronome.hwmodels.interface import Operation, Template

from ..coupling.calibrated import part_of
from ..coupling.components import ComponentSpec
from ..coupling.wired.inside import island
from ..coupling.wired.island import IslandLink
from ..errors import InputError
from ..record.link import TapedLink
from ..simulation import Simulation
from .witness import Slice


class Stalls:
    """Of one run's islands."""

    def __init__(self, simulation: Simulation) -> None:
        self._kinds = {spec.name: spec.kind for spec in simulation.specs}
        self._islands: dict[str, tuple[ComponentSpec, IslandLink]] = {}
        self._templates: dict[str, list[Template]] = {}
        for spec in simulation.specs:
            found = behind(simulation, spec)
            if found:
                self._islands[spec.name] = spec, found
                self._templates[spec.name] = list(templates_of(simulation, spec.name).values())

    def of(self, part: Slice) -> int:
        """ps, of what it took. Raises ComponentFailure."""
        if part.asked is None or part.component not in self._islands:
            return 0
        (spec, link), (work, values, times) = self._islands[part.component], part.asked
        operation = Operation(work.template.id, tuple(values))
        factor = spec.factors.get(part_of(work.template.kind, values, spec.kind), 1.0)
        own = link.own_ps(self._templates[part.component], operation) * times * factor
        return max(0, part.took_ps - round(own))

    def named(self, component: str) -> tuple[str, str]:
        """What it waits for there: a kind of component, and at which ports for whom."""
        _, link = self._islands[component]
        where = ", ".join(f"{port} for {target}" for port, target in link.asks.items())
        return self._kinds[next(iter(link.asks.values()))], f"{component} waits at {where}"


def templates_of(simulation: Simulation, component: str) -> dict[int, Template]:
    """What a component may be asked for, by number."""
    works = [work for unit in simulation.units for work in unit.plan.works if work.component == component]
    return {work.template.id: work.template for work in works}


def behind(simulation: Simulation, spec: ComponentSpec) -> IslandLink | None:
    """The island that a component answers for, where it can be played."""
    link = simulation.ports.root(spec.name) if spec.wires else None
    if isinstance(link, TapedLink):
        link = link.live.link if link.live.there else None
    try:
        return island(link) if link else None
    except InputError:
        return None

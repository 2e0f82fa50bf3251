"""Weights on their way to an instance that starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..lowering.work import Work
from .hooks import CouplingHooks
from .mover import Mover
from .ports import Ports


@dataclass(frozen=True, slots=True)
class Load:
    """All weights of an instance: sends, each with the bytes to every device of it, in ``parts`` one after another."""

    sends: tuple[tuple[Work, int], ...]
    parts: int

    def part(self, number: int) -> list[tuple[Work, int]]:
        """The sends of one part; a size is cut into whole bytes."""
        cut = [(work, size * number // self.parts, size * (number + 1) // self.parts) for work, size in self.sends]
        return [(work, end - first) for work, first, end in cut]


@dataclass(frozen=True, slots=True)
class WeightRoutes:
    """How weights get to each instance: from ``memory``, or from one with the same (source) to it (target)."""

    memory: str
    from_memory: Mapping[str, Load]
    from_peers: Mapping[tuple[str, str], Load]

    @property
    def works(self) -> list[Work]:
        every = [*self.from_memory.values(), *self.from_peers.values()]
        return [work for load in every for work, _ in load.sends]


class WeightLoader(Mover):
    """As `serving.fleet.fleet.WeightLoading`. ``loads`` and ``loaded`` count by where they came from."""

    def __init__(self, ports: Ports, routes: WeightRoutes, hooks: CouplingHooks) -> None:
        super().__init__(ports, hooks)
        self._routes = routes
        self.loads: dict[str, int] = {}
        self.loaded: dict[str, int] = {}  # bytes

    def has_peer(self, source: str, target: str) -> bool:
        """Whether one instance can get its weights from the other."""
        return (source, target) in self._routes.from_peers

    def load(self, source: str | None, target: str, goes_on: Callable[[], bool], done: Callable[[], None]) -> None:
        """From that instance or from the memory; ``done`` also when it does not go on after a part."""
        routes, name = self._routes, source or self._routes.memory
        load = routes.from_memory[target] if source is None else routes.from_peers[source, target]
        self.loads[name] = self.loads.get(name, 0) + 1
        self._part(load, 0, name, goes_on, done)

    def _part(self, load: Load, number: int, name: str, goes_on: Callable[[], bool], done: Callable[[], None]) -> None:
        if number == load.parts or not goes_on():
            done()
            return
        sends = load.part(number)
        self.loaded[name] = self.loaded.get(name, 0) + sum(size * (work.copies // 2) for work, size in sends)
        self.send(sends, partial(self._part, load, number + 1, name, goes_on, done))

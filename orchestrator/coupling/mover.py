"""What is on its way from endpoint to endpoint, K and V above all, as sends over what lies between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..lowering.work import Work
from .hooks import CouplingHooks
from .ports import Ports


@dataclass(frozen=True, slots=True)
class KvRoute:
    """One send of a transfer: pairs of devices that hold the same heads of the same layers.

    ``work`` is done once for all its pairs; ``layer_bytes`` of a token go from each source to its
    target for each of ``layers``.
    """

    work: Work
    layers: range
    layer_bytes: float


class Mover:
    """Has sends done, each between pairs of devices, and counts what they moved."""

    def __init__(self, ports: Ports, hooks: CouplingHooks) -> None:
        self._ports, self._hooks = ports, hooks
        self.bytes = 0

    def send(self, sends: Sequence[tuple[Work, int]], done: Callable[[], None]) -> None:
        """All of them at once, with so many bytes to each target; ``done`` when the last byte is there."""
        if not sends:
            done()
        move = _Move(len(sends), done)
        for work, size in sends:
            self.bytes += size * (work.copies // 2)
            since_ps = self._ports.now_ps
            self._hooks.operation_began(work.component, since_ps)
            self._ports.start(work, (size,), partial(self._one_done, move, work, since_ps))

    def _one_done(self, move: _Move, work: Work, since_ps: int, energy_pj: int) -> None:
        move.left -= 1
        self._hooks.operation_ended(work.component, self._ports.now_ps)
        self._hooks.sent(work, since_ps, self._ports.now_ps - since_ps)
        if not move.left:
            move.done()


class KvMover(Mover):
    """As `serving.interface.KvTransfer`: knows the routes between endpoints, by their names."""

    def __init__(self, ports: Ports, routes: dict[tuple[str, str], list[KvRoute]], hooks: CouplingHooks) -> None:
        super().__init__(ports, hooks)
        self._routes = routes

    def networks(self, source: str, target: str) -> set[str]:
        """Over which K and V go between the two."""
        return {route.work.component for route in self._routes[source, target]}

    def move(self, source: str, target: str, tokens: int, layers: range | None, done: Callable[[], None]) -> None:
        """K and V of ``tokens`` tokens, of all layers or of some; ``done`` when the last byte is there."""
        sends: list[tuple[Work, int]] = []
        for route in self._routes[source, target]:
            which = route.layers if layers is None else _common(route.layers, layers)
            if len(which):
                sends.append((route.work, round(tokens * len(which) * route.layer_bytes)))
        self.send(sends, done)

    def alone_ps(self, source: str, target: str, tokens: int, size: int) -> int:
        """What such a move takes if nothing else is on its way. ``size``: its bytes over all ranks, which may be
        those of some layers. Raises ComponentFailure."""
        routes = self._routes[source, target]
        each = [tokens * len(route.layers) * route.layer_bytes for route in routes]
        whole = math.fsum(some * (route.work.copies // 2) for some, route in zip(each, routes, strict=True))
        part = min(1.0, size / whole) if whole else 0.0
        sizes = [round(some * part) for some in each]
        return max(self._ports.alone_ps(route.work, (some,)) for route, some in zip(routes, sizes, strict=True))


@dataclass(slots=True)
class _Move:
    """``left`` of its sends are not there yet."""

    left: int
    done: Callable[[], None]


def _common(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))

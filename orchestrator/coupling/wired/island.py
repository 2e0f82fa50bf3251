"""An island: components wired together that one user at a time reaches, as one that is asked.

All of them are memoryless, so what an operation takes is a function of the operation: it is played out inside, once,
and remembered by who asks; a surrogate may stand before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metronome.hwmodels.interface import (
    Advanced,
    Completion,
    ComponentError,
    ConfigError,
    Description,
    Feature,
    Operation,
    Template,
    TimePolicy,
    Use,
)
from metronome.hwmodels.wiring.group import Group
from metronome.hwmodels.wiring.place import PortFault
from metronome.hwmodels.wiring.wires import declared, resolve

from ...errors import ComponentFailure, InputError
from ..link import Link
from ..wrapped import WrappedLink
from .member import LinkMember

FIRST_TEMPLATE = 1 << 24  # above those of any plan; on the wire they have 32 bits
NOT_ITS = frozenset({Feature.PORTS, Feature.SNAPSHOT, Feature.INSPECT, Feature.RESOURCES, Feature.TRAFFIC})


class IslandLink(WrappedLink):
    """The link of the component that is asked from outside, in front of its own and those of the others, ``others``.

    ``wires`` as a scenario has them, (port, component). Raises InputError for what cannot be one.
    """

    remote = False  # its members are asked one window after another, until all is done

    def __init__(self, link: Link, others: Sequence[Link], wires: Sequence[tuple[str, str]]) -> None:
        super().__init__(link)
        self._roots, self._named = others, wires
        members = [link, *others]
        for one in members:
            if not one.description.memoryless:
                why = f"{one.description.name} remembers: it cannot be played for an operation alone"
                raise InputError("scenario", f"components.{one.name}.model", one.description.name, why)
        given = link.description
        # What it promises ahead is of no use: the answer is final.
        self._described = replace(
            given,
            time_policy=TimePolicy.ORACLE,
            features=given.features - NOT_ITS,
            deterministic=all(one.description.deterministic for one in members),
            ports=(),
        )
        self._others = [root.again() for root in others]
        self._members = [LinkMember(one) for one in (link, *self._others)]
        self._group: Group | None = None
        self._played = 0

    @property
    def description(self) -> Description:
        return self._described

    @property
    def wall_s(self) -> float:
        return sum(member.link.wall_s for member in self._members)

    @property
    def incidents(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for member in self._members:
            found |= member.link.incidents
        return found

    def declare(self, templates: Sequence[Template]) -> None:
        try:
            # Ports may differ by configuration, in latency and credits; in what they ask for they do not.
            wires = resolve(self._members, self._named, FIRST_TEMPLATE)
            for number, member in enumerate(self._members):
                member.link.declare(declared(wires, number, templates if number == 0 else ()))
            self._group = Group(self._members, resolve(self._members, self._named, FIRST_TEMPLATE), [0])
        except ConfigError as error:
            raise InputError("scenario", error.field, error.value, error.allowed) from None
        self._group.know(0, templates)

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        return Advanced(grant_ps, tuple(map(self._play, operations)))

    def _play(self, asked: Operation) -> Completion:
        group = self._group
        if group is None:
            raise AssertionError("it is asked for what it was told of")
        began = group.reached_ps
        try:
            answer = group.play([(0, asked._replace(at_ps=began, microstep=0))])
        except PortFault as fault:
            raise ComponentFailure(fault.component, fault.what, f"being asked for operation {asked.op_id}") from None
        except ComponentError as error:
            raise ComponentFailure(self.name, str(error), f"being asked for operation {asked.op_id}") from error
        self._played += 1
        (done,) = answer.completions
        took = done.finish_ps - began
        return Completion(done.op_id, asked.at_ps, asked.at_ps + took, done.provenance, done.energy_pj)

    def again(self) -> Link:
        return IslandLink(self._link.again(), self._roots, self._named)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        first, *others = self._members
        group = self._group
        inside = {
            "played": self._played,
            "messages": group.messages if group else 0,
            "windows": group.windows if group else 0,
            "members": {one.name: {"model": one.description.name, **one.link.statistics(())} for one in others},
        }
        return {**first.link.statistics(uses), "island": inside}

    def inspect(self) -> dict[str, Any]:
        return self._link.inspect()

    def close(self) -> None:
        """Links belong to who opened them; sessions of the others end with theirs."""

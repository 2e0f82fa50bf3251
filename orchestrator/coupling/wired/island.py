"""An island: components wired together that one user at a time reaches, as one that is asked.

All of them are memoryless, so what an operation takes is a function of the operation: it is played out inside, once,
and remembered by who asks; a surrogate may stand before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from metronome.hwmodels.wiring.alone import Alone
from metronome.hwmodels.wiring.group import Told
from metronome.hwmodels.wiring.place import PortFault

from ...errors import ComponentFailure, InputError
from ..link import Link, LocalLink
from ..wrapped import WrappedLink
from .at_once import AtOnce
from .member import LinkMember

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
        self._alone: Alone | None = None
        self._unhindered: IslandLink | None = None
        self._own_ps: dict[tuple[int, tuple[int, ...]], int] = {}

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
        def tell(number: int, known: list[Template]) -> None:
            self._members[number].link.declare(known)

        try:
            self._alone = Alone(self._members, self._named, templates, tell)
        except ConfigError as error:
            raise InputError("scenario", error.field, error.value, error.allowed) from None

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop_at_first: bool) -> Advanced:
        return Advanced(grant_ps, tuple(map(self._play, operations)))

    def _play(self, asked: Operation) -> Completion:
        if self._alone is None:
            raise AssertionError("it is asked for what it was told of")
        try:
            return self._alone.play(asked)
        except PortFault as fault:
            raise ComponentFailure(fault.component, fault.what, f"being asked for operation {asked.op_id}") from None
        except ComponentError as error:
            raise ComponentFailure(self.name, str(error), f"being asked for operation {asked.op_id}") from error
        except ComponentFailure as failure:
            raise self._at_its_port(failure) from failure

    def _at_its_port(self, failure: ComponentFailure) -> ComponentFailure:
        """The same, with where it is asked: a link knows of its session what there is to know, but no ports."""
        ports = ", ".join(start for start, target in self._named if target == failure.component)
        doing = f"{failure.doing or 'answering'}, asked at port {ports}" if ports else failure.doing
        return ComponentFailure(failure.component, failure.what, doing, failure.last_words, failure.code)

    def listen(self, told: Told) -> None:
        """Tell of every request that is answered from now on; declared before."""
        if self._alone is not None:
            self._alone.group.told = told

    @property
    def asked_for(self) -> dict[str, frozenset[str]]:
        """Who is asked at a port, and for which kinds."""
        found: dict[str, frozenset[str]] = {}
        ports = {f"{one.name}.{port.name}": port for one in self._members for port in one.description.ports}
        for start, target in self._named:
            kinds = frozenset(template.kind for template in ports[start].templates)
            found[target] = found.get(target, frozenset()) | kinds
        return found

    @property
    def asks(self) -> dict[str, str]:
        """Whom its first member asks, by port."""
        return {start.rpartition(".")[2]: to for start, to in self._named if start.rpartition(".")[0] == self.name}

    def own_ps(self, templates: Sequence[Template], operation: Operation) -> int:
        """What an operation takes if whoever the first member asks answers at once (`AtOnce`): its own work, and the
        latency of its ports. Played in a session of its own, and remembered. Raises ComponentFailure."""
        key = operation.template, operation.values
        if key not in self._own_ps:
            if self._unhindered is None:
                wires = [(f"{self.name}.{port}", target) for port, target in self.asks.items()]
                asked = [one for one in self._roots if one.name in self.asks.values()]
                stand_ins = [LocalLink(one.name, partial(AtOnce, one.description)) for one in asked]
                self._unhindered = IslandLink(self._link.again(), stand_ins, wires)
                self._unhindered.declare(templates)
            (done,) = self._unhindered.advance(0, [operation], False).completions
            self._own_ps[key] = done.finish_ps - done.start_ps
        return self._own_ps[key]

    def again(self) -> Link:
        return IslandLink(self._link.again(), self._roots, self._named)

    def statistics(self, uses: Sequence[Use]) -> dict[str, Any]:
        first, *others = self._members
        told = {one.name: {"model": one.description.name, **one.link.statistics(())} for one in others}
        figures = self._alone.figures if self._alone else {}
        return {**first.link.statistics(uses), "island": {**figures, "members": told}}

    def close(self) -> None:
        """Links belong to who opened them; sessions of the others end with theirs."""

"""Which port is wired to whom; what cannot be wired is refused before time 0."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import NamedTuple, Protocol

from ..interface import Advanced, Completion, ConfigError, Description, Operation, Template
from ..ports import Port


class Member(Protocol):
    """A component among those wired together, whichever way it is reached."""

    name: str

    @property
    def description(self) -> Description: ...

    @property
    def ports(self) -> Sequence[Port]:
        """Those of its session, known once that is configured."""
        ...

    def send(self, grant_ps: int, operations: Sequence[Operation], answered: Sequence[Completion]) -> None:
        """An `advance`, after completions of its requests; `receive` gives the answer."""
        ...

    def receive(self) -> Advanced: ...


class Wire(NamedTuple):
    """From a port of a member to another member; members and wires by number. ``template``: what is added to the ids of
    the port's templates in the target's session."""

    source: int
    port: Port
    target: int
    template: int
    number: int = 0

    @property
    def latency_ps(self) -> int:
        return self.port.latency_ps


def resolve(members: Sequence[Member], named: Sequence[tuple[str, str]], first_template: int = 0) -> list[Wire]:
    """Wires as a scenario names them, ("n0.accelerators.mem", "n0.hbm"); raises ConfigError.

    Ids of templates from ``first_template`` on are free in every session.
    """
    numbers = {member.name: number for number, member in enumerate(members)}
    wires: list[Wire] = []
    for at, (start, end) in enumerate(named):
        name, _, port_name = start.rpartition(".")
        if name not in numbers:
            raise ConfigError(f"wires.{at}.from", start, f"COMPONENT.PORT; {_known(name, list(numbers))}")
        source = numbers[name]
        ports = {port.name: port for port in members[source].ports}
        if port_name not in ports:
            model = members[source].description.name
            has = _known(port_name, list(ports)) if ports else "it asks nobody"
            raise ConfigError(f"wires.{at}.from", start, f"{model} has no port '{port_name}'; {has}")
        if any(wire.source == source and wire.port.name == port_name for wire in wires):
            raise ConfigError(f"wires.{at}.from", start, "is wired twice; a port goes to one component")
        if end not in numbers:
            raise ConfigError(f"wires.{at}.to", end, f"a component; {_known(end, list(numbers))}")
        port, target = ports[port_name], numbers[end]
        _check_fit(f"wires.{at}.to", port, members[target])
        wires.append(Wire(source, port, target, first_template, at))
        first_template += 1 + max((template.id for template in port.templates), default=0)
    _check_all_wired(members, wires)
    check_lookahead([member.name for member in members], wires)
    return wires


def declared(wires: Sequence[Wire], member: int, templates: Sequence[Template]) -> list[Template]:
    """All that a member's session is to be told of: ``templates`` from outside, and those of ports wired to it."""
    found = list(templates)
    for wire in wires:
        if wire.target == member:
            for asked in wire.port.templates:
                found.append(Template(wire.template + asked.id, asked.kind, asked.layer, asked.attributes))
    return found


def _known(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, 1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"known: {', '.join(names)}"


def _check_fit(field: str, port: Port, target: Member) -> None:
    description = target.description
    if description.kind != port.kind:
        allowed = f"port '{port.name}' asks a piece of {port.kind}; {description.name} models one of {description.kind}"
        raise ConfigError(field, target.name, allowed)
    lacking = sorted({template.kind for template in port.templates} - description.op_kinds)
    if lacking:
        allowed = f"port '{port.name}' asks for {', '.join(lacking)}, which {description.name} does not do"
        raise ConfigError(field, target.name, allowed)


def _check_all_wired(members: Sequence[Member], wires: Sequence[Wire]) -> None:
    for number, member in enumerate(members):
        for port in member.ports:
            if not any(wire.source == number and wire.port.name == port.name for wire in wires):
                raise ConfigError("wires", f"{member.name}.{port.name}", "is wired to nothing")


def check_lookahead(names: Sequence[str], wires: Sequence[Wire]) -> None:
    """Raises ConfigError for a cycle of ports that all have a least latency of 0: nobody in it could ever be granted
    time, as anybody's request may be there at once."""
    ahead: dict[int, list[int]] = {}
    for wire in wires:
        if wire.latency_ps <= 0:
            ahead.setdefault(wire.source, []).append(wire.target)
    done: set[int] = set()

    def follow(number: int, path: list[int]) -> None:
        if number in path:
            cycle = " -> ".join(names[one] for one in [*path[path.index(number) :], number])
            raise ConfigError("wires", cycle, "a cycle without lookahead: each of its ports has a least latency of 0")
        if number not in done:
            for other in ahead.get(number, ()):
                follow(other, [*path, number])
            done.add(number)

    for number in range(len(names)):
        follow(number, [])

"""Components with ports under the checks: wired to counterparts, with which they are one component to every check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from metronome.hwmodels.interface import Advanced, Completion, Description, LateOperation, Operation, Template
from metronome.hwmodels.ports import Port
from metronome.hwmodels.wiring.group import Group
from metronome.hwmodels.wiring.local import LocalMember
from metronome.hwmodels.wiring.place import Origin, PortFault
from metronome.hwmodels.wiring.wires import Wire

from .checks import Refused, SessionUnderTest, Violation
from .counterpart import counterpart

QUICK_PS = 1000  # what a counterpart takes for a request
FIRST_TEMPLATE = 1_000_000


class AskingSession(SessionUnderTest, Protocol):
    """A session of a component with ports."""

    def ports(self) -> Sequence[Port]: ...

    def advance(
        self, grant_ps: int, operations: Sequence[Operation], stop: bool = False, answered: Sequence[Completion] = ()
    ) -> Advanced: ...


class _Member:
    """A session as one of those wired together."""

    def __init__(self, session: AskingSession, description: Description) -> None:
        self.name, self.description, self._session = description.name, description, session
        self.ports = session.ports()
        self._sent: tuple[int, Sequence[Operation], Sequence[Completion]] = (0, (), ())

    def send(self, grant_ps: int, operations: Sequence[Operation], answered: Sequence[Completion]) -> None:
        self._sent = grant_ps, operations, answered

    def receive(self) -> Advanced:
        grant_ps, operations, answered = self._sent
        return self._session.advance(grant_ps, operations, False, answered)


class PortedSession:
    """The component with a counterpart at each of its ports. ``answered`` lists what these have done for it."""

    def __init__(
        self,
        session: AskingSession,
        description: Description,
        templates: Sequence[Template],
        latency_ps: int,
    ) -> None:
        self._session = session
        member = _Member(session, description)
        wires, others = [], []
        for number, port in enumerate(member.ports, 1):
            other = counterpart(port, latency_ps)
            others.append(LocalMember(f"counterpart at {port.name}", other))
            wires.append(Wire(0, port, number, FIRST_TEMPLATE * number, number - 1))
        self._group = Group([member, *others], wires, [0])
        self._group.declared(0, templates)
        for number, one in enumerate(others, 1):
            one.component.declare(self._group.declared(number, ()))
        self.answered: list[tuple[str, int, int]] = []
        self._group.told = self._told

    def _told(self, asker: str, port: str, target: str, asked: Origin, done: Completion) -> None:
        self.answered.append((port, asked.op_id, asked.at_ps))

    def advance(self, grant_ps: int, operations: Sequence[Operation], stop: bool = False) -> Advanced:
        try:
            return self._group.advance(grant_ps, [(0, operation) for operation in operations], stop)
        except LateOperation as error:
            raise Refused(str(error)) from None
        except PortFault as error:
            raise Violation(str(error)) from None

    def snapshot(self) -> dict[str, Any]:
        return self._session.snapshot()

    def restore(self, state: dict[str, Any]) -> None:
        self._session.restore(state)

    def inspect(self) -> dict[str, Any]:
        return self._session.inspect()

    def close(self) -> None:
        self._session.close()

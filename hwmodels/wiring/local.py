"""A member in this process: a call."""

from __future__ import annotations

from collections.abc import Sequence

from ..interface import Advanced, Asking, BadOperation, Completion, Component, Description, Operation
from ..ports import Port


class LocalMember:
    """A configured component by the name it has among those wired together."""

    def __init__(self, name: str, component: Component) -> None:
        self.name, self.component = name, component
        self._sent: tuple[int, Sequence[Operation], Sequence[Completion]] = (0, (), ())

    @property
    def description(self) -> Description:
        return self.component.description

    @property
    def ports(self) -> Sequence[Port]:
        return self.component.description.ports

    def send(self, grant_ps: int, operations: Sequence[Operation], answered: Sequence[Completion]) -> None:
        self._sent = grant_ps, operations, answered

    def receive(self) -> Advanced:
        grant_ps, operations, answers = self._sent
        if answers:
            if not isinstance(self.component, Asking):
                raise BadOperation(f"{self.name} was answered, and it asks nobody")
            self.component.answered(answers)
        return self.component.advance(grant_ps, operations)

"""A link as one of those wired together: a component in this process, or one behind gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from metronome.hwmodels.interface import Advanced, Completion, Description, Operation
from metronome.hwmodels.ports import Port

from ..link import Link, LocalLink


class AskingLink(Link, Protocol):
    """A link that answers elsewhere, whose component may ask others."""

    @property
    def ports(self) -> Sequence[Port]:
        """Those of its session, once it is declared."""
        ...

    def send(
        self,
        grant_ps: int,
        operations: Sequence[Operation],
        stop_at_first: bool,
        answered: Sequence[Completion] = (),
    ) -> None: ...

    def receive(self) -> Advanced: ...


class LinkMember:
    """What is sent to a component elsewhere is on its way while others are asked; one here is asked in its turn."""

    def __init__(self, link: Link) -> None:
        self.name, self.link = link.name, link
        self._sent: tuple[int, Sequence[Operation], Sequence[Completion]] = (0, (), ())

    @property
    def description(self) -> Description:
        return self.link.description

    @property
    def ports(self) -> Sequence[Port]:
        return self.link.ports if isinstance(self.link, LocalLink) else cast(AskingLink, self.link).ports

    def send(self, grant_ps: int, operations: Sequence[Operation], answered: Sequence[Completion]) -> None:
        self._sent = grant_ps, operations, answered
        if not isinstance(self.link, LocalLink):
            cast(AskingLink, self.link).send(grant_ps, operations, False, answered)

    def receive(self) -> Advanced:
        if isinstance(self.link, LocalLink):
            return self.link.exchange(*self._sent)
        return cast(AskingLink, self.link).receive()

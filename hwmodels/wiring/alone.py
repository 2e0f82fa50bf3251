"""Members wired together of which one is asked, for one operation at a time: played from rest to rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..interface import Completion, Operation, Template
from .group import Group
from .wires import Member, declared, resolve

FIRST_TEMPLATE = 1 << 24  # above those of any plan; on the wire they have 32 bits


class Alone:
    """The first member is asked. All are memoryless, so what an operation takes is a function of it alone.

    ``wires`` as a scenario names them. Raises ConfigError for what cannot be wired.
    """

    def __init__(
        self,
        members: Sequence[Member],
        wires: Sequence[tuple[str, str]],
        templates: Sequence[Template],
        declare: Callable[[int, list[Template]], object],
    ) -> None:
        """``declare`` tells the member of that number its templates; its ports are then those of its session. Ports may
        differ by configuration in latency and credits, not in what they ask for."""
        resolved = resolve(members, wires, FIRST_TEMPLATE)
        for number in range(len(members)):
            declare(number, declared(resolved, number, templates if number == 0 else ()))
        self.group = Group(members, resolve(members, wires, FIRST_TEMPLATE), [0])
        self.group.know(0, templates)
        self.played = 0

    def play(self, asked: Operation) -> Completion:
        """That operation alone, as if it began when it says. Raises PortFault, and what members raise."""
        began = self.group.reached_ps
        (done,) = self.group.play([(0, asked._replace(at_ps=began, microstep=0))]).completions
        self.played += 1
        start, finish = asked.at_ps + done.start_ps - began, asked.at_ps + done.finish_ps - began
        return Completion(done.op_id, start, finish, done.provenance, done.energy_pj)

    @property
    def figures(self) -> dict[str, Any]:
        return {"played": self.played, "messages": self.group.messages, "windows": self.group.windows}

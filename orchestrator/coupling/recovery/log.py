"""What a session has to be told to be where it was: its latest snapshot, and the messages since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metronome.hwmodels.interface import Advanced, Completion, Description, Feature, Operation, Template, TimePolicy

MOST_KEPT = 200_000  # messages and operations: about 50 MB, and a minute to tell them again
SNAPSHOT_EVERY = 2_000  # messages and operations: a few milliseconds each time

CLOCKED = (TimePolicy.CONSERVATIVE, TimePolicy.FORWARD_ONLY)


class Message(NamedTuple):
    """One `advance` that was answered; ``answer`` is a digest, ``answered`` what it was told of its own requests."""

    grant_ps: int
    operations: Sequence[Operation]
    stop_at_first: bool
    answer: int
    answered: Sequence[Completion] = ()


def digest(answer: Advanced) -> int:
    return hash((answer.reached_ps, answer.completions, answer.next_event_ps, answer.requests))


class SessionLog:
    """``why_not`` says why the session cannot be rebuilt; empty while it can.

    A component without a clock keeps nothing between questions, so nothing of it is kept here. One that is memoryless
    is as new whenever it owes nothing, unless it keeps accounts.
    """

    def __init__(self, description: Description) -> None:
        self.clocked = description.time_policy in CLOCKED
        slow = "slowdown" in description.op_kinds  # which stays when it owes nothing
        self._forgets = description.memoryless and not slow and Feature.ACCOUNTS not in description.features
        self._snapshots = Feature.SNAPSHOT in description.features
        self.templates: Sequence[Template] | None = None  # None: not declared yet
        self.resources: Mapping[int, frozenset[int]] | None = None
        self.state: dict[str, Any] | None = None  # its latest snapshot
        self.state_digest = ""
        self.messages: list[Message] = []
        self._weight = 0
        self.why_not = "" if description.deterministic else "its model is not deterministic"

    def declared(self, templates: Sequence[Template], resources: Mapping[int, frozenset[int]] | None) -> None:
        self.templates, self.resources = list(templates), resources

    def add(self, message: Message, idle: bool) -> None:
        """A message that was answered; ``idle``: the component owes nothing now."""
        if not self.clocked or self.why_not:
            return
        if idle and self._forgets:
            self._cut()
            self.state = None
            return
        self.messages.append(message)
        self._weight += 1 + len(message.operations) + len(message.answered)
        if self._weight > MOST_KEPT:
            self._cut()
            self.why_not = f"it takes no snapshots, and more than {MOST_KEPT} messages and operations are not kept"

    @property
    def snapshot_due(self) -> bool:
        return self._snapshots and self._weight >= SNAPSHOT_EVERY and not self.why_not

    def snapshot(self, state: dict[str, Any], state_digest: str) -> None:
        """The component's state now; what came before is not needed any more."""
        self.state, self.state_digest = state, state_digest
        self._cut()

    def no_snapshots(self) -> None:
        """It cannot take them after all."""
        self._snapshots = False

    def _cut(self) -> None:
        self.messages, self._weight = [], 0

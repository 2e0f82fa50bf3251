"""What a user asks of the served model."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and how many tokens it will produce.

    Attributes:
        id: unique, in order of the workload.
        arrival_ps: when it reaches the router.
        token_ids: input then output tokens where the workload knows them, for prefix caching.
        session: the session it is a turn of, for routing and follow-ups.
        next_turn: the session's next prompt, which arrives ``think_ps`` after this one's last token.
        think_ps: how long the session is busy elsewhere (a tool call) after this request.
        priority: smaller is more urgent, as vLLM's; only scheduling policies that ask for it look at it.
    """

    id: int
    arrival_ps: int
    input_tokens: int
    output_tokens: int
    token_ids: array[int] | None = None
    session: str | None = None
    next_turn: Request | None = None
    think_ps: int = 0
    priority: int = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Request:
        return self

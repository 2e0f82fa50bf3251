"""What a user asks of the served model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from .tokens import TokenIds


class Image(NamedTuple):
    """An image in a prompt: ``tokens`` of it from ``start`` on; equal ``picture``, equal image."""

    start: int
    tokens: int
    picture: int

    @property
    def end(self) -> int:
        return self.start + self.tokens


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
        abort_after_ps: the client gives it up this long after its arrival, if it is not done by then.
        slo_class: the class of traffic it is of, whose service level objective it is held to.
        model: which of the served models it asks for; "" is any.
        images: in order; their tokens are among those of the prompt.
    """

    id: int
    arrival_ps: int
    input_tokens: int
    output_tokens: int
    token_ids: TokenIds | None = None
    session: str | None = None
    next_turn: Request | None = None
    think_ps: int = 0
    priority: int = 0
    abort_after_ps: int | None = None
    slo_class: str = ""
    model: str = ""
    images: tuple[Image, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Request:
        return self

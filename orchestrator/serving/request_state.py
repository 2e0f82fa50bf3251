"""A request as one engine sees it: how far it is, and when its tokens came."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any

from ..workload.request import Request


class RequestState:
    """Mutable state of one request on one engine; engines keep what they need beside it in a class of their own.

    Times of tokens are not stored one by one.

    Attributes:
        num_computed_tokens: tokens whose K and V are in the cache, or being put there by a step in flight; while it
            decodes an engine may bring this and ``num_output_tokens`` up to date only when it stops to.
        num_output_tokens: tokens produced.
        num_cached_tokens: tokens of its prompt that were in the prefix cache when it was first admitted.
        num_preemptions: how often it lost its K and V.
        received_ps, queued_ps, scheduled_ps: when it was in the engine's queue, was looked at there, and was first
            admitted; -1 before.
        first_token_ps, end_ps: when its first and its last token were with the client; -1 before.
        token_steps: (log, first, end): each of the steps [first, end) of that step log gave one token.
        place: the replica that has it, by number.
        origin: with prefill and decode apart, the same request on the engine that has computed its prompt.
        remote: its prompt's K and V come from another engine.
        aborted: it was dropped; what is still on its way of it counts for nobody.
    """

    __slots__ = (
        "aborted",
        "end_ps",
        "first_token_ps",
        "num_cached_tokens",
        "num_computed_tokens",
        "num_output_tokens",
        "num_preemptions",
        "origin",
        "place",
        "queued_ps",
        "received_ps",
        "remote",
        "request",
        "scheduled_ps",
        "token_steps",
    )

    def __init__(self, request: Request) -> None:
        self.request = request
        self.num_output_tokens = 0
        self.num_computed_tokens = 0
        self.num_preemptions = 0
        self.num_cached_tokens = 0
        self.received_ps = self.queued_ps = self.scheduled_ps = self.first_token_ps = self.end_ps = -1
        self.token_steps: list[tuple[int, int, int]] = []
        self.place = 0
        self.origin: RequestState | None = None
        self.remote = False
        self.aborted = False

    def __deepcopy__(self, memo: dict[int, Any]) -> RequestState:
        """A copy shares what is never changed in place."""
        copied = memo[id(self)] = copy(self)
        copied.token_steps = list(self.token_steps)
        copied.origin = deepcopy(self.origin, memo)
        return copied

    @property
    def num_tokens(self) -> int:
        return self.request.input_tokens + self.num_output_tokens

    @property
    def remaining(self) -> int:
        return self.request.output_tokens - self.num_output_tokens

    def look_at(self, now_ps: int) -> None:
        """The engine finds it in its input queue; where it comes from another engine, that one has."""
        if self.queued_ps < 0:
            self.queued_ps = now_ps

    def add_token_steps(self, log: int, first: int, end: int) -> None:
        """Steps [first, end) of that log each gave a token; contiguous ranges grow."""
        if first == end:
            return
        if self.token_steps and self.token_steps[-1][0] == log and self.token_steps[-1][2] == first:
            first = self.token_steps.pop()[1]
        self.token_steps.append((log, first, end))

    def take_over(self, origin: RequestState, tokens: bool) -> None:
        """Go on where another engine has ended: its times are this request's, and its ``tokens`` if it gave any."""
        if tokens:
            self.num_output_tokens, self.token_steps = origin.num_output_tokens, list(origin.token_steps)
            self.first_token_ps = origin.first_token_ps
        self.scheduled_ps, self.queued_ps, self.received_ps = (
            origin.scheduled_ps,
            origin.queued_ps,
            origin.received_ps,
        )
        self.num_preemptions += origin.num_preemptions
        self.num_cached_tokens = origin.num_cached_tokens

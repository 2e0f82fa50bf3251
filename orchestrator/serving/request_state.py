"""A request as one engine sees it: progress, blocks, and when its tokens came."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any

from ..workload.request import Request


class RequestState:
    """Mutable state of one request in one instance.

    ``num_tokens`` tokens exist (prompt and produced), ``num_computed_tokens`` of them are in the KV cache or being
    put there by the step in flight. While a sequence decodes, both are derived by `Decoders`, which
    moves all of them at once; they are brought up to date when it leaves.

    Times of tokens are not stored one by one: ``token_steps`` holds (log, first, end): each of the
    steps [first, end) of that step log gave one token. ``first_token_ps`` and ``end_ps`` are the client's,
    ``received_ps`` (it is in the engine's queue), ``queued_ps`` (the engine has looked at it) and
    ``scheduled_ps`` the engine's. ``place`` is the engine that has it, by number;
    with prefill and decode apart, ``origin`` is the same request on the engine that has computed its
    prompt.
    """

    __slots__ = (
        "block_hashes",
        "block_ids",
        "end_ps",
        "first_token_ps",
        "num_cached_blocks",
        "num_cached_tokens",
        "num_computed_tokens",
        "num_in_flight",
        "num_output_tokens",
        "num_preemptions",
        "offset",
        "order",
        "origin",
        "place",
        "queued_ps",
        "received_ps",
        "remote",
        "request",
        "scheduled_ps",
        "since",
        "token_steps",
    )

    def __init__(self, request: Request) -> None:
        self.request = request
        self.num_output_tokens = 0
        self.num_computed_tokens = 0
        self.block_ids: list[int] = []
        self.block_hashes: list[bytes] = []  # hashes of its full blocks, as far as needed so far
        self.num_cached_blocks = 0  # blocks already findable by hash
        self.order = -1  # place in the running list
        self.offset = 0  # while decoding: context = offset + step
        self.since = 0  # while decoding: first step of this stretch
        self.num_in_flight = 0  # chunks, or tokens of a life that was cut short, in steps in flight
        self.num_preemptions = 0
        self.num_cached_tokens = 0
        self.received_ps = self.queued_ps = self.scheduled_ps = self.first_token_ps = self.end_ps = -1
        self.token_steps: list[tuple[int, int, int]] = []
        self.place = 0
        self.origin: RequestState | None = None
        self.remote = False  # its prompt's K and V come from another engine

    def __deepcopy__(self, memo: dict[int, Any]) -> RequestState:
        """A copy shares what is never changed in place: the request and the names of its blocks."""
        copied = memo[id(self)] = copy(self)
        copied.block_ids, copied.token_steps = list(self.block_ids), list(self.token_steps)
        copied.origin = deepcopy(self.origin, memo)
        return copied

    @property
    def num_tokens(self) -> int:
        return self.request.input_tokens + self.num_output_tokens

    @property
    def remaining(self) -> int:
        return self.request.output_tokens - self.num_output_tokens

    def add_token_steps(self, log: int, first: int, end: int) -> None:
        """Steps [first, end) of that log each gave a token; contiguous ranges grow."""
        if first == end:
            return
        if self.token_steps and self.token_steps[-1][0] == log and self.token_steps[-1][2] == first:
            first = self.token_steps.pop()[1]
        self.token_steps.append((log, first, end))

    def take_over(self, origin: RequestState) -> None:
        """Go on where another engine has ended: its tokens and times are this request's, too."""
        self.num_output_tokens, self.token_steps = origin.num_output_tokens, list(origin.token_steps)
        self.first_token_ps, self.scheduled_ps, self.queued_ps, self.received_ps = (
            origin.first_token_ps,
            origin.scheduled_ps,
            origin.queued_ps,
            origin.received_ps,
        )
        self.num_preemptions += origin.num_preemptions
        self.num_cached_tokens = origin.num_cached_tokens

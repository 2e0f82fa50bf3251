"""A request as one engine sees it: progress, blocks, and when its tokens came."""

from __future__ import annotations

from ..workload.request import Request


class Sequence:
    """Mutable state of one request in one instance.

    ``reach`` tokens exist (prompt and produced), ``computed`` of them are in the KV cache or being
    put there by the step in flight. While a sequence decodes, both are derived by `Decoders`, which
    moves all of them at once; they are brought up to date when it leaves.

    Times of tokens are not stored one by one: ``token_steps`` holds ranges [first, end) of engine
    steps of which each gave one token.
    """

    __slots__ = (
        "blocks", "chain", "computed", "end_ps", "first_token_ps", "hit_tokens", "named", "offset",
        "order", "preemptions", "produced", "queued_ps", "request", "scheduled_ps", "since", "token_steps",
    )  # fmt: skip

    def __init__(self, request: Request) -> None:
        self.request = request
        self.produced = 0
        self.computed = 0
        self.blocks: list[int] = []
        self.chain: list[bytes] = []  # hashes of its full blocks, as far as needed so far
        self.named = 0  # blocks already findable by hash
        self.order = -1  # place in the running list
        self.offset = 0  # while decoding: context = offset + step
        self.since = 0  # while decoding: first step of this stretch
        self.preemptions = 0
        self.hit_tokens = 0
        self.queued_ps = self.scheduled_ps = self.first_token_ps = self.end_ps = -1
        self.token_steps: list[tuple[int, int]] = []

    @property
    def reach(self) -> int:
        return self.request.input_tokens + self.produced

    @property
    def remaining(self) -> int:
        return self.request.output_tokens - self.produced

    def add_token_steps(self, first: int, end: int) -> None:
        """Steps [first, end) each gave a token; contiguous ranges grow."""
        if first == end:
            return
        if self.token_steps and self.token_steps[-1][1] == first:
            first = self.token_steps.pop()[0]
        self.token_steps.append((first, end))

"""A request as vLLM's scheduler sees it."""

from __future__ import annotations

from ...workload.request import Request
from ..kv.cache import PagedState


class VllmRequestState(PagedState):
    """While it decodes, its counts are derived by `Decoders`, which moves all decoding requests at once.

    Attributes:
        order: its place in the running list; -1 before it is admitted.
        offset, since: while it decodes its context is offset + step, and ``since`` is the first step of this stretch.
        num_in_flight: chunks of its prompt, or tokens of a life that was cut short, in steps in flight.
        last_step: the number of the last step that had it, as far as `Fences` have written it down.
    """

    __slots__ = ("last_step", "num_in_flight", "offset", "order", "since")

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.order = -1
        self.offset = 0
        self.since = 0
        self.num_in_flight = 0
        self.last_step = 0

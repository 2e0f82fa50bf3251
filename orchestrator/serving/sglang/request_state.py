"""A request as SGLang's scheduler sees it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ...workload.request import Request
from ..request_state import RequestState
from .radix_cache import Node
from .token_ids import ids_of


class SglangRequestState(RequestState):
    """What `Req` of SGLang holds, in counts of tokens.

    Attributes:
        token_ids: of its prompt and its output, as the radix tree has them.
        node: the node of the radix tree that it locks; None while it has none.
        protected: its first tokens, which are in the tree (`cache_protected_len`).
        kv_len: tokens whose K and V are in memory, or being put there by a step in flight.
        late_pages: pages of what a step in flight computes for nothing, as it has ended or was retracted meanwhile.
        prefix_len, extend_len: of its prompt (with what it had produced when it was retracted): cached before the
            step that computes it, and computed in it.
        joined, last_decode: while it decodes the number of decodes before its first, and up to its last; -1 otherwise.
        kv_until, tokens_until: decodes put together, and ended, up to which its counts are right (`RunningBatch`).
        done: its last token has been dealt with.
    """

    __slots__ = (
        "done",
        "extend_len",
        "joined",
        "kv_len",
        "kv_until",
        "last_decode",
        "late_pages",
        "node",
        "prefix_len",
        "protected",
        "token_ids",
        "tokens_until",
    )

    def __init__(self, request: Request) -> None:
        super().__init__(request)
        self.token_ids = ids_of(request)
        self.node: Node | None = None
        self.protected = self.kv_len = self.prefix_len = self.extend_len = self.late_pages = 0
        self.joined = self.last_decode = -1
        self.kv_until = self.tokens_until = 0
        self.done = False

    def __deepcopy__(self, memo: dict[int, Any]) -> SglangRequestState:
        copied = super().__deepcopy__(memo)
        if not isinstance(copied, SglangRequestState):
            raise TypeError(copied)
        copied.node = deepcopy(self.node, memo)
        return copied

    def own_pages(self, page_size: int) -> int:
        """Pages of its own, beside those in the tree."""
        return -(-(self.kv_len - self.protected) // page_size)

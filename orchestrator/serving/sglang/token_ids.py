"""The tokens of a request as the radix tree sees them: all of them, known or not."""

from __future__ import annotations

from array import array
from typing import TypeAlias

from ...workload.request import Request
from ...workload.tokens import TokenIds


class PartlyKnown:
    """Ids of a request of which the workload knows the first ones at most; it reads as an ``array('q')`` does.

    SGLang keeps K and V of every request in its tree. What the workload does not know is like no other request's
    tokens, so it is numbered below zero, where no vocabulary is.
    """

    __slots__ = ("_known", "_length", "_number")

    def __init__(self, request: Request) -> None:
        self._known = array("q") if request.token_ids is None else request.token_ids
        self._length = request.input_tokens + request.output_tokens
        self._number = -(request.id + 1) << 32

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, wanted: slice) -> array[int]:
        start, end, _ = wanted.indices(self._length)
        known = len(self._known)
        ids = self._known[start : min(end, known)] if start < known else array("q")
        return ids + array("q", range(self._number + max(start, known), self._number + end)) if end > known else ids


Ids: TypeAlias = "TokenIds | PartlyKnown"


def ids_of(request: Request) -> Ids:
    """One id for each token of its prompt and its output."""
    known = request.token_ids
    if known is not None and len(known) >= request.input_tokens + request.output_tokens:
        return known
    return PartlyKnown(request)

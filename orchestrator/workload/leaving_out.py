"""A workload without some of its requests."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from .request import Request


def leaving_out(requests: Iterator[Request], ids: Collection[int]) -> Iterator[Request]:
    """All but those requests, and without what their sessions would have sent after them; numbers stay as they are."""
    return (kept for request in requests if (kept := _without(request, ids)) is not None)


def _without(request: Request, ids: Collection[int]) -> Request | None:
    """A request with the turns after it, up to the first that is left out."""
    turns: list[Request] = []
    turn: Request | None = request
    while turn is not None and turn.id not in ids:
        turns.append(turn)
        turn = turn.next_turn
    if turn is None:
        return request
    kept: Request | None = None
    for turn in reversed(turns):
        kept = replace(turn, next_turn=kept)
    return kept

"""Collectives as messages that wait for one another: rings, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Message(NamedTuple):
    """``bytes`` from one rank to another, sent once message number ``after`` has arrived (-1: at once)."""

    source: int
    target: int
    bytes: int
    after: int


#: kind -> (times p-1 steps, whether a step moves one rank's share of the bytes or all of them).
_RINGS = {"all_reduce": (2, True), "reduce_scatter": (1, True), "all_gather": (1, False)}


def messages(kind: str, ranks: int, size: int) -> Sequence[Message]:
    """What an operation sends, between ranks by number (of a send: source, target, source, target, ...)."""
    if kind == "send":
        return [Message(i, i + 1, max(1, size), -1) for i in range(0, ranks, 2)]
    if kind == "all_to_all":
        part = max(1, size // ranks)
        # Each rank begins with another target, or all would send to the first at once.
        return [Message(i, (i + k) % ranks, part, -1) for k in range(1, ranks) for i in range(ranks)]
    if kind == "broadcast":
        return _pipeline(ranks, size)
    rounds, shared = _RINGS[kind]
    found = []
    for step in range(rounds * (ranks - 1)):
        for rank in range(ranks):
            piece = (rank - step) % ranks
            part = size * (piece + 1) // ranks - size * piece // ranks if shared else size
            after = -1 if step == 0 else (step - 1) * ranks + (rank - 1) % ranks
            found.append(Message(rank, (rank + 1) % ranks, max(1, part), after))
    return found


def _pipeline(ranks: int, size: int) -> list[Message]:
    """The bytes in as many parts as there are hops, each passed on as it comes."""
    hops = ranks - 1
    found = []
    for part in range(hops):
        for rank in range(hops):
            after = -1 if rank == 0 else part * hops + rank - 1
            found.append(Message(rank, rank + 1, max(1, size * (part + 1) // hops - size * part // hops), after))
    return found

"""Recalls of K and V from off the devices, in `why`: what each took alone, and behind whom it was slower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ..coupling.mover import KvMover
from ..errors import MetronomeError
from ..serving.offloading import TierCopy


class Piece(NamedTuple):
    """From ``start_ps`` to ``end_ps`` something of a request moved; in words what took the time, and who."""

    start_ps: int
    end_ps: int
    what: str
    who: str


class Copies:
    """Every copy between devices and pools that an instrument was told of, as they end."""

    def __init__(self) -> None:
        self.done: list[TierCopy] = []
        self._open: list[TierCopy] = []

    def began(self, copy: TierCopy) -> None:
        self._open.append(copy)

    def ended(self, copy: TierCopy) -> None:
        self.done.append(copy)
        as_begun = replace(copy, ended_ps=-1)
        same = [i for i, one in enumerate(self._open) if replace(one, used=copy.used) == as_begun]
        if same:  # else it began before anybody looked
            del self._open[same[0]]

    def close(self, now_ps: int) -> None:
        """What is on its way has been so until now."""
        self.done += [replace(one, ended_ps=now_ps) for one in self._open]
        self._open.clear()

    def recalls(self, request: int) -> list[TierCopy]:
        """Of a request, as they began."""
        mine = [one for one in self.done if one.recall and one.request == request]
        return sorted(mine, key=lambda one: (one.began_ps, one.ended_ps, one.tier))


def pieces(copies: Copies, request: int, mover: KvMover) -> list[Piece]:
    """Each recall of a request: its own time, then what it was longer than alone, behind whom."""
    found = []
    for one in copies.recalls(request):
        text = f"recall of {one.tokens:,} tokens from {one.tier}"
        own = _alone_ps(one, mover)
        mine = min(one.ended_ps, one.began_ps + own) if own is not None else one.ended_ps
        found.append(Piece(one.began_ps, mine, "memory", text))
        if mine < one.ended_ps:
            behind = _behind(one, copies.done, mover)
            found.append(Piece(mine, one.ended_ps, "memory", f"recall from {one.tier} behind {behind}"))
    return found


def _alone_ps(copy: TierCopy, mover: KvMover) -> int | None:
    """None where its component cannot be asked any more: a recording has only what was asked."""
    try:
        return mover.alone_ps(copy.pool, copy.engine, copy.tokens)
    except MetronomeError:
        return None


def _behind(copy: TierCopy, others: Sequence[TierCopy], mover: KvMover) -> str:
    """Whose copies were on the same networks meanwhile: the engine's that were for longest, recalls before stores."""
    networks = mover.networks(copy.pool, copy.engine)
    spent: Counter[tuple[str, bool]] = Counter()
    for other in others:
        meanwhile = min(copy.ended_ps, other.ended_ps) - max(copy.began_ps, other.began_ps)
        mine = (other.engine, other.request, other.recall) == (copy.engine, copy.request, True)
        if meanwhile > 0 and not mine and networks & mover.networks(other.pool, other.engine):
            spent[other.engine, other.recall] += meanwhile
    if not spent:
        return "other traffic"
    engine, recall = min(spent, key=lambda who: (-spent[who], not who[1], who[0]))
    return f"{engine}'s {'recall' if recall else 'store'}"

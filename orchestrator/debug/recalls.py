"""K and V and weights from off the devices, in `why`: what they took alone, and behind whom they were slower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ..coupling.mover import KvMover
from ..coupling.ports import Ports
from ..errors import MetronomeError
from ..lowering.work import Work
from ..serving.offloading import TierCopy

NOISE = 1000  # what is longer than alone by less than such a part, and behind nobody, is arithmetic


class Piece(NamedTuple):
    """From ``start_ps`` to ``end_ps`` something of a request moved; in words what took the time, and who."""

    start_ps: int
    end_ps: int
    what: str
    who: str


class Streamed(NamedTuple):
    """``size`` bytes of an instance's weights to each of its devices, in a step; ``end_ps`` -1: not there yet."""

    instance: str
    work: Work
    size: int
    start_ps: int
    end_ps: int = -1


class Copies:
    """Every copy between devices and pools that an instrument was told of, and all streamed weights, as they end."""

    def __init__(self) -> None:
        self.done: list[TierCopy] = []
        self.streamed: list[Streamed] = []
        self._open: list[TierCopy] = []
        self._coming: list[Streamed] = []

    def began(self, copy: TierCopy) -> None:
        self._open.append(copy)

    def ended(self, copy: TierCopy) -> None:
        self.done.append(copy)
        as_begun = replace(copy, ended_ps=-1)
        same = [i for i, one in enumerate(self._open) if replace(one, used=copy.used) == as_begun]
        if same:  # else it began before anybody looked
            del self._open[same[0]]

    def stream_began(self, stream: Streamed) -> None:
        self._coming.append(stream)

    def stream_ended(self, stream: Streamed, now_ps: int) -> None:
        self.streamed.append(stream._replace(end_ps=now_ps))
        if stream in self._coming:
            self._coming.remove(stream)

    def close(self, now_ps: int) -> None:
        """What is on its way has been so until now."""
        self.done += [replace(one, ended_ps=now_ps) for one in self._open]
        self.streamed += [one._replace(end_ps=now_ps) for one in self._coming]
        self._open.clear()
        self._coming.clear()

    def recalls(self, request: int) -> list[TierCopy]:
        """Of a request, as they began."""
        mine = [one for one in self.done if one.recall and one.request == request]
        return sorted(mine, key=lambda one: (one.began_ps, one.ended_ps, one.tier))


class Moves:
    """Puts what moved into words, for one request after another."""

    def __init__(self, copies: Copies, mover: KvMover, ports: Ports) -> None:
        self._copies, self._mover, self._ports = copies, mover, ports
        self._alone: dict[tuple[object, ...], int | None] = {}  # ps by what moves

    def found(self, request: int, cached: int) -> dict[str, int]:
        """By tier, which of the ``cached`` tokens that a request began with were recalled."""
        mine = self._copies.recalls(request)
        first = {one.tier: one.tokens for one in mine if one.began_ps == mine[0].began_ps}
        return first if sum(first.values()) <= cached else {}  # else it is those of a later life

    def recalls(self, request: int) -> list[Piece]:
        """Each recall of a request: its own time, then what it was longer than alone, behind whom."""
        return [piece for one in self._copies.recalls(request) for piece in self._recall(one, "")]

    def waited(self, request: int, copies: Sequence[TierCopy], start_ps: int, end_ps: int, text: str) -> list[Piece]:
        """What a step that computes the request waited for between two times, its own recalls first, without a gap;
        ``text`` says it where no copy does."""
        recalls = sorted((one for one in copies if one.recall), key=lambda one: (one.request != request, one.ended_ps))
        found: list[Piece] = []
        for one in recalls:
            found += self._recall(one, "" if one.request == request else f" for request {one.request}")
        stores = [one for one in copies if not one.recall]
        stores = stores if any(one.ended_ps == end_ps for one in stores) else []
        for tier in dict.fromkeys(one.tier for one in stores):
            found += self._stores([one for one in stores if one.tier == tier])
        return _covering(found, start_ps, end_ps, Piece(start_ps, end_ps, "memory", text))

    def weights(self, instance: str, network: str, start_ps: int, end_ps: int) -> list[Piece]:
        """A wait of a step for weights that came over a network, without a gap."""
        own = f"weights over {network}"
        found: list[Piece] = []
        for one in self._copies.streamed:
            if one.instance == instance and start_ps < one.end_ps <= end_ps:
                alone = self._weights_alone_ps(one)
                behind = self._behind({network}, one.start_ps, one.end_ps, but=(one,))
                found += _split((one.start_ps, one.end_ps), "network", own, own, alone, behind)
        return _covering(found, start_ps, end_ps, Piece(start_ps, end_ps, "network", own))

    def _recall(self, one: TierCopy, whose: str) -> list[Piece]:
        text = f"recall of {one.tokens:,} tokens from {one.tier}{whose}"
        behind = self._behind(self._networks(one), one.began_ps, one.ended_ps, but=(one,))
        alone = self._alone_ps(one.pool, one.engine, one.tokens, one.bytes)
        return _split((one.began_ps, one.ended_ps), "memory", text, f"recall from {one.tier}", alone, behind)

    def _stores(self, copies: Sequence[TierCopy]) -> list[Piece]:
        """Copies of one engine to one tier that a step waits for, as if they were one."""
        first, begin, end = copies[0], min(one.began_ps for one in copies), max(one.ended_ps for one in copies)
        tokens = sum(one.tokens for one in copies)
        behind = self._behind(self._networks(first), begin, end, but=copies)
        alone = self._alone_ps(first.engine, first.pool, tokens, sum(one.bytes for one in copies))
        own = f"copies to {first.tier} that the step waits for"
        return _split((begin, end), "memory", own, f"copies to {first.tier}", alone, behind)

    def _networks(self, copy: TierCopy) -> set[str]:
        return self._mover.networks(copy.pool, copy.engine)

    def _alone_ps(self, source: str, target: str, tokens: int, size: int) -> int | None:
        key = source, target, tokens, size
        return self._asked(key, lambda: self._mover.alone_ps(*key))

    def _weights_alone_ps(self, one: Streamed) -> int | None:
        return self._asked((one.work.template.id, one.size), lambda: self._ports.alone_ps(one.work, (one.size,)))

    def _asked(self, key: tuple[object, ...], ask: Callable[[], int]) -> int | None:
        """None where the component cannot be asked any more: a recording has only what was asked."""
        if key not in self._alone:
            try:
                self._alone[key] = ask()
            except MetronomeError:
                self._alone[key] = None
        return self._alone[key]

    def _behind(
        self, networks: set[str], start_ps: int, end_ps: int, but: Sequence[TierCopy | Streamed]
    ) -> list[tuple[str, int]]:
        """Whose bytes were on the same networks meanwhile, and for how long: the longest first, recalls before others.

        The request's own recalls, and what a step waits for together, are not others'.
        """
        spent: Counter[tuple[str, str]] = Counter()
        mine = {(one.engine, one.request, one.recall) for one in but if isinstance(one, TierCopy)}
        for other in self._copies.done:
            meanwhile = min(end_ps, other.ended_ps) - max(start_ps, other.began_ps)
            if (
                meanwhile > 0
                and (other.engine, other.request, other.recall) not in mine
                and networks & self._networks(other)
            ):
                spent[other.engine, "recall" if other.recall else "store"] += meanwhile
        for stream in self._copies.streamed:
            meanwhile = min(end_ps, stream.end_ps) - max(start_ps, stream.start_ps)
            if meanwhile > 0 and stream.work.component in networks and stream not in but:
                spent[stream.instance, "weights"] += meanwhile
        ordered = sorted(spent.items(), key=lambda item: (-item[1], item[0][1], item[0][0]))
        return [(f"{who}'s {what}", took) for (who, what), took in ordered]


def _split(
    times: tuple[int, int], what: str, own: str, other: str, alone_ps: int | None, behind: Sequence[tuple[str, int]]
) -> list[Piece]:
    """What moved between two times: its own part, then what it was longer than alone, by the others' shares."""
    start, end = times
    mine = end if alone_ps is None else min(end, start + alone_ps)
    if not behind and (end - mine) * NOISE <= end - start:
        mine = end
    found = [Piece(start, mine, what, own)]
    whole, reached, seen = sum(took for _, took in behind), mine, 0
    for who, took in behind or [("other traffic", 1)]:
        seen += took
        until = mine + (end - mine) * seen // (whole or 1)
        found.append(Piece(reached, until, what, f"{other} behind {who}"))
        reached = until
    return [piece for piece in found if piece.start_ps < piece.end_ps]


def _covering(pieces: Iterable[Piece], start_ps: int, end_ps: int, rest: Piece) -> list[Piece]:
    """From ``start_ps`` to ``end_ps``, each as far as none before it says of the time; ``rest`` where none does."""
    found: list[Piece] = []
    reached = start_ps
    for piece in pieces:
        begin, end = max(reached, piece.start_ps), min(piece.end_ps, end_ps)
        if begin >= end:
            continue
        if begin > reached:
            found.append(rest._replace(start_ps=reached, end_ps=begin))
        found.append(piece._replace(start_ps=begin, end_ps=end))
        reached = end
    if reached < end_ps:
        found.append(rest._replace(start_ps=reached, end_ps=end_ps))
    return found

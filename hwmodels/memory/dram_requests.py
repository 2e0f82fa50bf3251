"""Loads and stores at addresses, on all channels of a part: bursts go to each `dram_channel.Channel`.

Bursts lie side by side over the channels; within a channel, bank groups change with every burst, then columns, banks
and rows, as in a stream of `dram_load`.
"""

from __future__ import annotations

from heapq import heappop, heappush

from ..interface import Completion, Operation, Provenance
from .dram_channel import Burst, Channel
from .dram_parts import Part


class _Request:
    """``left``: bursts of which it waits for the data."""

    __slots__ = ("at_ps", "left", "op_id", "size")

    def __init__(self, op_id: int, at_ps: int, left: int, size: int) -> None:
        self.op_id, self.at_ps, self.left, self.size = op_id, at_ps, left, size


class _Alike:
    """Channels that have had the same since they rested: ``one`` is played for all ``members``."""

    __slots__ = ("members", "one")

    def __init__(self, one: Channel, members: list[int]) -> None:
        self.one, self.members = one, members


class Requests:
    """``count`` parts side by side. Times are picoseconds.

    Of channels that are given the same only one is played: a long request is the same for most, and who rests is new.
    """

    def __init__(self, part: Part, count: int) -> None:
        self._part = part
        self._channels = part.channels * count
        self._alike = [_Alike(Channel(part), list(range(self._channels)))]
        self._requests: dict[int, _Request] = {}
        self._done: list[tuple[int, int, int]] = []  # data that will have passed: at, tag, bursts
        self._tag = 0
        self._bursts = self._rows = 0

    def take(self, operation: Operation, write: bool) -> None:
        """In the order of their times."""
        size, address = operation.values
        first, bursts = self._part.burst_bytes, max(1, -(-size // self._part.burst_bytes))
        tag, self._tag = self._tag, self._tag + 1
        self._requests[tag] = _Request(operation.op_id, operation.at_ps, bursts, size)
        self._gather(operation.at_ps)
        start = address // first
        found = []
        for alike in self._alike:
            for (along, count), members in self._by_share(alike.members, start, bursts).items():
                one = alike.one if len(members) == len(alike.members) else alike.one.again()
                for number in range(along, along + count):
                    one.push(operation.at_ps, Burst(*self._place(number), write, tag))
                found.append(_Alike(one, members))
        self._alike = found

    def _by_share(self, members: list[int], start: int, bursts: int) -> dict[tuple[int, int], list[int]]:
        """Of that many bursts from ``start`` on: (where the first lies in a channel, how many) -> whose they are."""
        found: dict[tuple[int, int], list[int]] = {}
        for channel in members:
            skipped = (channel - start) % self._channels
            count = max(0, -((skipped - bursts) // self._channels))
            along = (start + skipped) // self._channels if count else 0
            found.setdefault((along, count), []).append(channel)
        return found

    def _gather(self, at_ps: int) -> None:
        """Channels that rest are alike."""
        resting = [alike for alike in self._alike if alike.one.rests(at_ps)]
        if len(resting) > 1:
            members = sorted(channel for alike in resting for channel in alike.members)
            self._alike = [alike for alike in self._alike if alike not in resting]
            self._alike.append(_Alike(Channel(self._part), members))

    def _place(self, along: int) -> tuple[int, int]:
        """(bank, row) of a burst of one channel."""
        part = self._part
        column, group = divmod(along, part.bank_groups)
        row, bank = divmod(column // part.bursts_a_row, part.banks)
        return group * part.banks + bank, row

    def until(self, end_ps: int) -> list[Completion]:
        """Requests whose last data has passed by then; nothing more will come before."""
        for alike in self._alike:
            one, many = alike.one, len(alike.members)
            before = one.misses
            for at, tag in one.until(end_ps):
                heappush(self._done, (at, tag, many))
                self._bursts += many
            self._rows += (one.misses - before) * many
        found = []
        while self._done and self._done[0][0] <= end_ps:
            at, tag, many = heappop(self._done)
            request = self._requests[tag]
            request.left -= many
            if not request.left:
                del self._requests[tag]
                found.append(Completion(request.op_id, request.at_ps, at, Provenance.MODELLED))
        return found

    @property
    def next_ps(self) -> int | None:
        """Before which no request is done."""
        if not self._requests:
            return None
        soonest = min(alike.one.next_ps for alike in self._alike)
        return min(soonest, self._done[0][0]) if self._done else soonest

    @property
    def waiting(self) -> int:
        """Requests that are not done."""
        return len(self._requests)

    def figures(self) -> dict[str, int]:
        """Bursts that have passed, and rows that were opened for them."""
        return {"bursts": self._bursts, "rows_opened": self._rows}

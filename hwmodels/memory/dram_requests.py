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


class Requests:
    """``count`` parts side by side. Times are picoseconds."""

    def __init__(self, part: Part, count: int) -> None:
        self._part = part
        self.channels = [Channel(part) for _ in range(part.channels * count)]
        self._requests: dict[int, _Request] = {}
        self._done: list[tuple[int, int]] = []  # data that will have passed: at, tag
        self._tag = 0

    def take(self, operation: Operation, write: bool) -> None:
        """In the order of their times."""
        size, address = operation.values
        first, bursts = self._part.burst_bytes, max(1, -(-size // self._part.burst_bytes))
        tag, self._tag = self._tag, self._tag + 1
        self._requests[tag] = _Request(operation.op_id, operation.at_ps, bursts, size)
        start = address // first
        for number in range(start, start + bursts):
            along, channel = divmod(number, len(self.channels))
            self.channels[channel].push(operation.at_ps, Burst(*self._place(along), write, tag))

    def _place(self, along: int) -> tuple[int, int]:
        """(bank, row) of a burst of one channel."""
        part = self._part
        column, group = divmod(along, part.bank_groups)
        row, bank = divmod(column // part.bursts_a_row, part.banks)
        return group * part.banks + bank, row

    def until(self, end_ps: int) -> list[Completion]:
        """Requests whose last data has passed by then; nothing more will come before."""
        for channel in self.channels:
            for done in channel.until(end_ps):
                heappush(self._done, done)
        found = []
        while self._done and self._done[0][0] <= end_ps:
            at, tag = heappop(self._done)
            request = self._requests[tag]
            request.left -= 1
            if not request.left:
                del self._requests[tag]
                found.append(Completion(request.op_id, request.at_ps, at, Provenance.MODELLED))
        return found

    @property
    def next_ps(self) -> int | None:
        """Before which no request is done."""
        if not self._requests:
            return None
        soonest = min(channel.next_ps for channel in self.channels)
        return min(soonest, self._done[0][0]) if self._done else soonest

    @property
    def waiting(self) -> int:
        """Requests that are not done."""
        return len(self._requests)

    def figures(self) -> dict[str, int]:
        """Bursts that have passed, and rows that were opened for them."""
        return {
            "bursts": sum(channel.hits for channel in self.channels),
            "rows_opened": sum(channel.misses for channel in self.channels),
        }

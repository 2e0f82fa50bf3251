"""All decoding sequences of one lane of an engine, moved together.

In every step each of them computes one token, so everything a step needs follows from the step's
number: context = offset + step, a new block every ``block_size`` steps, the end at a known step.
Sums and calendars are updated when a sequence joins or leaves; a step itself costs only as much as
there are blocks to hand out, however many sequences run.
"""

from __future__ import annotations

from heapq import heappop, heappush

from ..kv.cache import KvCache
from .request_state import VllmRequestState


class Decoders:
    """The set of decoding sequences; ``step`` is the number of the step being scheduled.

    ``log`` is the number of the step log in which this lane's steps are written down. What ``cache`` is asked by each
    sequence, and when, follows from its block size and edges.
    """

    def __init__(self, cache: KvCache, log: int = 0) -> None:
        self.block_size, self.log = cache.block_size, log
        self._edges = sorted(cache.edges | {cache.block_size - 1})
        self._partial = cache.partial
        self._joined: list[int] = []  # for this step, after chunks that windows have not moved over yet
        self.step = 0
        self.count = 0
        self._offsets = 0  # sum
        self._rows: list[dict[int, VllmRequestState]] = [{} for _ in range(cache.block_size)]  # by step of next block
        self._ends: dict[int, dict[int, VllmRequestState]] = {}  # by last step
        self._members: dict[int, VllmRequestState] = {}  # by place in the running list
        self._low: list[tuple[int, int]] = []  # heaps of (offset, order), cleaned when looked at
        self._high: list[tuple[int, int]] = []

    def join(self, sequence: VllmRequestState) -> None:
        """From this step on it decodes; ``computed`` is its context."""
        order = sequence.order
        offset = sequence.offset = sequence.num_computed_tokens - self.step
        sequence.since = self.step
        self.count += 1
        self._offsets += offset
        self._members[order] = sequence
        self._rows[-offset % self.block_size][order] = sequence
        self._ends.setdefault(self.step + sequence.remaining - 1, {})[order] = sequence
        if self._partial:
            self._joined.append(order)
        heappush(self._low, (offset, order))
        heappush(self._high, (-offset, order))
        if len(self._low) > 4 * self.count + 64:
            self._compact()

    def leave(self, sequence: VllmRequestState) -> None:
        """It no longer decodes from this step on: bring its own counts up to date."""
        order, offset = sequence.order, sequence.offset
        self.count -= 1
        self._offsets -= offset
        del self._members[order]
        del self._rows[-offset % self.block_size][order]
        end = sequence.since + sequence.remaining - 1
        ending = self._ends[end]
        del ending[order]
        if not ending:
            del self._ends[end]
        sequence.num_computed_tokens = offset + self.step
        sequence.num_output_tokens += self.step - sequence.since
        sequence.add_token_steps(self.log, sequence.since, self.step)

    def members(self) -> list[VllmRequestState]:
        return list(self._members.values())

    def __contains__(self, sequence: VllmRequestState) -> bool:
        return sequence.order in self._members

    def at_block_edge(self) -> list[int]:
        """Places in the running list of those whose next token ends a block, or changes what they hold."""
        rows, step, size = self._rows, self.step, self.block_size
        found = [order for edge in self._edges for order in rows[(step - edge) % size]]
        if self._joined:
            found += [order for order in self._joined if order in self._members]
            self._joined.clear()
        return found

    def ending(self) -> list[VllmRequestState]:
        """Whose token of this step is their last."""
        return list(self._ends.get(self.step, {}).values())

    def context(self, sequence: VllmRequestState) -> int:
        """Its tokens in the cache before this step."""
        return sequence.offset + self.step

    @property
    def context_sum(self) -> int:
        return self._offsets + self.count * self.step

    @property
    def context_min(self) -> int:
        return self._edge(self._low, 1) + self.step

    @property
    def context_max(self) -> int:
        return self._edge(self._high, -1) + self.step

    def _edge(self, heap: list[tuple[int, int]], sign: int) -> int:
        members = self._members
        while True:
            offset, order = heap[0]
            member = members.get(order)
            if member is not None and member.offset == sign * offset:
                return sign * offset
            heappop(heap)

    def _compact(self) -> None:
        """Drop what left: deep in a heap it would stay for ever."""
        offsets = [(sequence.offset, order) for order, sequence in self._members.items()]
        self._low = sorted(offsets)
        self._high = sorted((-offset, order) for offset, order in offsets)

    def beginning(self, ahead: int) -> int:
        """How many begin a block so many steps from this one, if nobody joins or leaves."""
        return len(self._rows[(self.step + ahead) % self.block_size])

    def due(self, ahead: int) -> list[VllmRequestState]:
        """Those, in the order of the running list."""
        row = self._rows[(self.step + ahead) % self.block_size]
        return [row[order] for order in sorted(row)]

    def steady(self, most: int) -> int:
        """How many steps after this one the same sequences will decode, if nobody joins."""
        for ahead in range(most):
            if self.step + ahead in self._ends:
                return ahead
        return most

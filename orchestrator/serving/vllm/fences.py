"""Blocks that are not free yet: a step in flight may still write them (vLLM 0.33: ``defer_block_free``).

Where K and V come from elsewhere they may be written to a block as soon as it is free, in no order with the steps in
flight. So with more than one of these a block is free when the last step that had its sequence has ended, and nobody is
preempted whose blocks would not be free at once (`v1/core/sched/scheduler.py`, _free_request_blocks and
_request_blocks_can_be_freed).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..kv.cache import KvCache
from .lanes import Lane
from .request_state import VllmRequestState
from .waiting_for_remote_kvs import WaitingForRemoteKvs


class Fences:
    """Steps of one engine by number, and the blocks that wait for them."""

    def __init__(self, cache: KvCache, lanes: Sequence[Lane], remote_kvs: WaitingForRemoteKvs) -> None:
        self._cache, self._lanes, self._remote_kvs = cache, lanes, remote_kvs
        self._begun = self._ended = 0
        self._waiting: deque[tuple[int, list[int]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def begun(self, lane: Lane) -> None:
        """A step has been put together."""
        self._begun += 1
        lane.number = self._begun
        for chunk in lane.chunks:
            chunk.state.last_step = self._begun

    def left(self, sequence: VllmRequestState) -> None:
        """It is about to leave the decoders."""
        sequence.last_step = self._last(sequence)

    def ended(self) -> None:
        """The oldest step in flight has ended."""
        self._ended += 1
        while self._waiting and self._waiting[0][0] <= self._ended:
            self._cache.pool.free_blocks(self._waiting.popleft()[1])

    def pass_by(self, steps: int) -> None:
        """So many steps have begun and ended, all of the same sequences."""
        self._begun += steps
        self._ended += steps
        for lane in self._lanes:
            lane.number += steps

    def holds(self, sequence: VllmRequestState) -> bool:
        """Whether a step in flight has it, and its blocks could be written from elsewhere."""
        return self._remote_kvs.connector is not None and self._last(sequence) > self._ended

    def free(self, sequence: VllmRequestState) -> None:
        """Its blocks are free, now or when the step that has it has ended."""
        if self.holds(sequence):
            self._waiting.append((self._begun, self._cache.take_away(sequence)))
        else:
            self._cache.free(sequence)

    def _last(self, sequence: VllmRequestState) -> int:
        """The number of the last step that had it."""
        for lane in self._lanes:
            if sequence in lane.decoders and (lane.in_flight or sequence.since < lane.decoders.step):
                return lane.number
        return sequence.last_step

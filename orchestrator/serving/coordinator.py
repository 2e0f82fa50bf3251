"""What vLLM's front end knows of its data-parallel ranks: not their queues, but what was published of them.

After a step each rank tells the coordinator, a process of its own, how many requests wait and run. It publishes that
to the API servers every 100 ms while there is something new, else every 5 s; between two publications each server
adds what it has sent itself (`vllm/v1/engine/coordinator.py`, process_input_socket, and
`vllm/v1/engine/core_client.py`, DPLBAsyncMPClient, of 0.19.0).
"""

from __future__ import annotations

from collections.abc import Sequence

Counts = tuple[int, int]  # waiting, running

CHANGED_MS, IDLE_MS = 100, 5000  # between publications
SETTLE_MS = 50  # since the last message, unless a newer step has begun: all of one step are waited for


class Coordinator:
    """``DPCoordinatorProc`` over simulated time, in whole ms; it has just published when it is made.

    Timers are looked at when somebody asks or tells: nothing is scheduled.

    Attributes:
        published: what the last publication said, by rank.
        publications: how many there were.
    """

    def __init__(self, ranks: int, now_ms: int = 0) -> None:
        self._counts: list[Counts] = [(0, 0)] * ranks
        self.published: list[Counts] = list(self._counts)
        self.publications = 0
        self._looked_ms = self._published_ms = now_ms
        self._changed = False
        self._step = -1
        self._step_counts: list[Counts] | None = None  # whole, of the step before the newest

    def tell(self, now_ms: int, rank: int, step: int, counts: Counts) -> None:
        """A rank has changed counts after a step, by number."""
        self.look(now_ms)
        if step > self._step:
            if self._changed:
                self._step_counts = list(self._counts)
            self._step = step
        self._counts[rank] = counts
        self._changed = True
        self._looked_ms = now_ms

    def look(self, now_ms: int) -> list[Counts]:
        """What has been published before that time."""
        while (due := self._due_ms) < now_ms:
            if self._step_counts is not None:
                self.published, self._step_counts = self._step_counts, None
            else:
                self.published, self._changed = list(self._counts), False
            self.publications += 1
            self._looked_ms = self._published_ms = due
        return self.published

    @property
    def _due_ms(self) -> int:
        every = CHANGED_MS if self._changed else IDLE_MS
        settle = SETTLE_MS if self._step_counts is None else 0
        return self._looked_ms + max(settle, every - (self._looked_ms - self._published_ms))


class FrontEnd:
    """One API server's choice of rank: the least 4 x waiting + running of what it knows, from its own first on."""

    def __init__(self, coordinator: Coordinator, index: int, count: int) -> None:
        self._coordinator, self._index, self._count = coordinator, index, count
        self._seen = -1
        self._known: list[list[int]] = []

    def choose(self, now_ms: int) -> int:
        """The rank that gets a request now; it counts as many as there are servers, for all of them send."""
        published = self._coordinator.look(now_ms)
        if self._seen != self._coordinator.publications:
            self._seen, self._known = self._coordinator.publications, [list(counts) for counts in published]
        ranks = len(self._known)
        first = ranks * self._index // self._count
        rank = min(((first + i) % ranks for i in range(ranks)), key=lambda one: _score(self._known[one]))
        self._known[rank][0] += self._count
        return rank


def _score(counts: Sequence[int]) -> int:
    waiting, running = counts
    return 4 * waiting + running

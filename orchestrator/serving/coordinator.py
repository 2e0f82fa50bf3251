"""What vLLM's front end knows of its data-parallel ranks: not their queues, but what was published of them.

After a step each rank tells the coordinator, a process of its own, how many requests wait and run. It publishes that
to the API servers every 100 ms while there is something new, else every 5 s; between two publications each server
adds what it has sent itself (`vllm/v1/engine/coordinator.py`, process_input_socket, and
`vllm/v1/engine/core_client.py`, DPLBAsyncMPClient, of 0.19.0). In 0.33 each server also counts its own requests that
have not ended, and prefers ranks whose KV cache is not full: `FlightCounting`.
"""

from __future__ import annotations

from collections import Counter

Counts = tuple[float, ...]  # waiting, running; in 0.33 also the share of KV blocks that are held

CHANGED_MS, IDLE_MS = 100, 5000  # between publications
SETTLE_MS = 50  # since the last message, unless a newer step has begun: all of one step are waited for


class Coordinator:
    """``DPCoordinatorProc`` over simulated time, in whole ms; it has just published when it is made.

    Timers are looked at when somebody asks or tells: nothing is scheduled. ``lockstep``: ranks step together, and what
    all have told of one step is published together; in 0.19 all are taken to (0.33: ``enable_wave_coordination``).

    Attributes:
        published: what the last publication said, by rank.
        publications: how many there were.
        lockstep: as it was made; ranks may say otherwise.
    """

    def __init__(self, ranks: int, now_ms: int = 0, lockstep: bool = True, idle: Counts = (0, 0)) -> None:
        self._counts: list[Counts] = [idle] * ranks
        self.lockstep = lockstep
        self.published: list[Counts] = list(self._counts)
        self.publications = 0
        self._looked_ms = self._published_ms = now_ms
        self._changed = False
        self._step = -1
        self._step_counts: list[Counts] | None = None  # whole, of the step before the newest

    def tell(self, now_ms: int, rank: int, step: int, counts: Counts) -> None:
        """A rank has changed counts after a step, by number."""
        self.look(now_ms)
        if self.lockstep and step > self._step:
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
        settle = SETTLE_MS if self.lockstep and self._step_counts is None else 0
        return self._looked_ms + max(settle, every - (self._looked_ms - self._published_ms))


class FrontEnd:
    """One API server's choice of rank: the least 4 x waiting + running of what it knows, from its own first on."""

    def __init__(self, coordinator: Coordinator, index: int, count: int) -> None:
        self._coordinator, self._index, self._count = coordinator, index, count
        self._seen = -1
        self._known: list[list[float]] = []

    def choose(self, now_ms: int) -> int:
        """The rank that gets a request now; it counts as many as there are servers, for all of them send."""
        published = self._coordinator.look(now_ms)
        if self._seen != self._coordinator.publications:
            self._seen, self._known = self._coordinator.publications, [list(counts) for counts in published]
        ranks = len(self._known)
        first = self._first(ranks)
        rank = min(((first + i) % ranks for i in range(ranks)), key=self._score)
        self._known[rank][0] += self._count
        return rank

    def ended(self, rank: int) -> None:
        """A request that it has sent there is over."""

    def _first(self, ranks: int) -> int:
        """The rank that is looked at first: of equals it is taken."""
        return ranks * self._index // self._count

    def _score(self, rank: int) -> float:
        waiting, running = self._known[rank]
        return 4 * waiting + running


class FlightCounting(FrontEnd):
    """The same in 0.33: the most of waiting + running, as published and sent since, and what it knows itself to be on
    its way, times the servers; who waits counts up to three times more as KV blocks run out. Each choice begins one
    rank further (get_core_engine_for_request)."""

    def __init__(self, coordinator: Coordinator, index: int, count: int) -> None:
        super().__init__(coordinator, index, count)
        self._in_flight: Counter[int] = Counter()
        self._turns = 0

    def choose(self, now_ms: int) -> int:
        rank = super().choose(now_ms)
        self._in_flight[rank] += 1
        self._turns += 1
        return rank

    def ended(self, rank: int) -> None:
        self._in_flight[rank] -= 1

    def _first(self, ranks: int) -> int:
        return (super()._first(ranks) + self._turns) % ranks

    def _score(self, rank: int) -> float:
        waiting, running, usage = self._known[rank]
        return max(self._count * self._in_flight[rank], waiting + running) + waiting * 6.0 * max(0.0, usage - 0.5)

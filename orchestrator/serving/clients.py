"""Clients of a closed loop: how many requests are out at once, and what passes at the client between two."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

from ..workload.request import Request

PS_PER_MS = 10**9


class ClientOptions(Protocol):
    """What a scenario says of its clients: `workload.options.Client`."""

    @property
    def think_ms(self) -> float: ...
    @property
    def network_ms(self) -> float: ...
    @property
    def send_ms(self) -> float: ...
    @property
    def jitter(self) -> float: ...


class Clients:
    """At most ``limit`` requests (or sessions, up to their last turn) are out at once, as with the semaphore of
    `vllm bench serve --max-concurrency`: who is due waits for a place, first come first served. All are sent by one
    client program, one after another.

    Attributes:
        out: places taken, those whose client still thinks among them.
        due: requests that wait for a place.
    """

    def __init__(self, limit: int, options: ClientOptions, random: np.random.Generator) -> None:
        self.limit, self._options, self._random = limit, options, random
        self.out = 0
        self.due: deque[Request] = deque()
        self._free_ps = 0  # when the client program has sent what it has been told to

    def enter(self, request: Request) -> bool:
        """Take a place, or wait for one."""
        if self.out == self.limit:
            self.due.append(request)
            return False
        self.out += 1
        return True

    def leave(self) -> Request | None:
        """Give a place back; returns who takes it."""
        if self.due:
            return self.due.popleft()
        self.out -= 1
        return None

    def think_ps(self) -> int:
        """From a request's last token to when the next is to be sent."""
        return self._about(self._options.think_ms)

    def arrival_ps(self, now_ps: int) -> int:
        """When a request that is to be sent now is with the server."""
        self._free_ps = max(self._free_ps, now_ps) + self._about(self._options.send_ms)
        return self._free_ps + self._about(self._options.network_ms)

    def _about(self, mean_ms: float) -> int:
        """Evenly from mean x (1 - jitter) to mean x (1 + jitter)."""
        if not mean_ms:
            return 0
        return round(mean_ms * (1 + self._options.jitter * (2 * float(self._random.random()) - 1)) * PS_PER_MS)

"""Arrivals: pulls requests from the workload one by one, routes them, sends sessions' next turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import StalledError
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..workload.request import Request
from .engine import Engine
from .router import Router


class Frontend:
    """Holds one future arrival at a time, so that a workload of any length streams."""

    def __init__(self, kernel: Kernel, workload: Iterator[Request], router: Router, engines: Sequence[Engine]) -> None:
        self._kernel, self._workload, self._router, self._engines = kernel, workload, router, engines
        self.outstanding = 0
        self.arrived = 0

    def start(self) -> None:
        self._pull()

    def _pull(self) -> None:
        request = next(self._workload, None)
        if request is not None:
            self._expect(request, pull=True)

    def _expect(self, request: Request, pull: bool) -> None:
        self.outstanding += 1
        self._kernel.at(request.arrival_ps, Priority.ARRIVAL, 0, lambda: self._arrive(request, pull))

    def _arrive(self, request: Request, pull: bool) -> None:
        self.arrived += 1
        self._router.choose(request, self._engines).submit(request)
        if pull:
            self._pull()

    def request_ended(self, request: Request) -> None:
        """Its last token is out: the session's next turn comes after the think time."""
        self.outstanding -= 1
        if request.next_turn is not None:
            arrival = self._kernel.now_ps + request.think_ps
            self._expect(replace(request.next_turn, arrival_ps=arrival), pull=False)

    def check_done(self) -> None:
        """Raises StalledError, naming who waits for what, if requests are left over."""
        if not self.outstanding:
            return
        stuck = []
        for engine in self._engines:
            waiting, running = engine.load
            if waiting or running:
                pool = engine.scheduler.pool
                stuck.append(
                    f"{engine.name} has {waiting} waiting and {running} running requests, "
                    f"{pool.free} of {pool.size} KV blocks free"
                )
        raise StalledError(
            f"nothing can happen any more, but {self.outstanding} requests are not done: " + "; ".join(stuck)
        )

"""Arrivals: pulls requests from the workload one by one, routes them, sends sessions' next turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from ..errors import StalledError
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..workload.request import Request
from .engine import Engine, Role
from .kv.transfer import Handoff
from .request_state import RequestState
from .router import Router


class Dispatcher:
    """Holds one future arrival at a time, so that a workload of any length streams."""

    def __init__(self, kernel: Kernel, workload: Iterator[Request], router: Router, engines: Sequence[Engine]) -> None:
        self._kernel, self._workload, self.router, self._engines = kernel, workload, router, engines
        self._first = [engine for engine in engines if engine.role is not Role.DECODE]
        self._second = [engine for engine in engines if engine.role is Role.DECODE]
        self.handoff: Handoff | None = None
        self.outstanding = 0
        self.arrived = 0

    def start(self) -> None:
        self._pull()

    def decode_engine(self, sequence: RequestState) -> Engine:
        """Where a request goes on whose prompt is, or will be, computed elsewhere."""
        return self.router.choose(sequence.request, self._second)

    def _pull(self) -> None:
        request = next(self._workload, None)
        if request is not None:
            self._expect(request, pull=True)

    def _expect(self, request: Request, pull: bool) -> None:
        self.outstanding += 1
        arrive = partial(self._arrive, request, pull)
        # Nothing in the run causes what comes from the workload; a session's next turn comes from the one before.
        cause = 0 if pull else None
        self._kernel.at(request.arrival_ps, Priority.ARRIVAL, 0, "arrival", request.id, arrive, cause)

    def _arrive(self, request: Request, pull: bool) -> None:
        self.arrived += 1
        engine = self.router.choose(request, self._first)
        sequence = RequestState(request)
        sequence.place = engine.number
        engine.coming.append(sequence)
        now = self._kernel.now_ps
        received = engine.servers.receive(request.input_tokens, now)
        receive = partial(self._received, sequence, engine)
        if received > now:
            self._kernel.at(received, Priority.ARRIVAL, 0, "received", request.id, receive)
        else:
            receive()
        if pull:
            self._pull()

    def _received(self, sequence: RequestState, engine: Engine) -> None:
        engine.coming.remove(sequence)
        sequence.received_ps = self._kernel.now_ps
        if self.handoff and engine.role is Role.PREFILL and sequence.request.output_tokens > 1:
            self.handoff.arrived(sequence, engine)
        else:
            engine.submit(sequence)

    def request_ended(self, request: Request, end_ps: int) -> None:
        """Its last token is with the client at ``end_ps``: the session's next turn comes after the think time."""
        self.outstanding -= 1
        if request.next_turn is not None:
            arrival = end_ps + request.think_ps
            self._expect(replace(request.next_turn, arrival_ps=arrival), pull=False)

    def check_done(self) -> None:
        """Raises StalledError, naming who waits for what, if requests are left over."""
        if not self.outstanding:
            return
        stuck = []
        for engine in self._engines:
            waiting, running = engine.load
            handed = len(engine.scheduler.handed)
            if waiting or running or handed:
                pool = engine.scheduler.pool
                more = f", {handed} computed and not yet taken over" if handed else ""
                stuck.append(
                    f"{engine.name} has {waiting} waiting and {running} running requests{more}, "
                    f"{pool.free} of {pool.size} KV blocks free"
                )
        raise StalledError(
            f"nothing can happen any more, but {self.outstanding} requests are not done: " + "; ".join(stuck)
        )

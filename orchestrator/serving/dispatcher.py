"""Arrivals: pulls requests from the workload one by one, routes them, sends sessions' next turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from ..errors import StalledError
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..workload.request import Request
from .hooks import ServingHooks
from .interface import KvConnector, Role
from .replica import Replica
from .request_state import RequestState
from .router import Router


class Dispatcher:
    """Holds one future arrival at a time, so that a workload of any length streams.

    Attributes:
        outstanding: requests that are known and not done.
        arrived: requests that have come to the router.
        connector: moves K and V between replicas that share requests, if there are any.
    """

    def __init__(
        self,
        kernel: Kernel,
        workload: Iterator[Request],
        router: Router,
        replicas: Sequence[Replica],
        hooks: ServingHooks,
    ) -> None:
        self._hooks = hooks
        self._kernel, self._workload, self.router, self._replicas = kernel, workload, router, replicas
        self._first = [replica for replica in replicas if replica.role is not Role.DECODE]
        self._second = [replica for replica in replicas if replica.role is Role.DECODE]
        self.connector: KvConnector | None = None
        self.outstanding = 0
        self.arrived = 0

    def start(self) -> None:
        self._pull()

    def decode_replica(self, state: RequestState) -> Replica:
        """Where a request goes on whose prompt is, or will be, computed elsewhere."""
        return self.router.choose(state.request, self._second)

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
        replica = self.router.choose(request, self._first)
        state = replica.new_request(request)
        replica.coming.append(state)
        now = self._kernel.now_ps
        self._hooks.request_arrived(state, now)
        received = replica.servers.receive(request.input_tokens, now)
        receive = partial(self._received, state, replica)
        if received > now:
            self._kernel.at(received, Priority.ARRIVAL, 0, "received", request.id, receive)
        else:
            receive()
        if pull:
            self._pull()

    def _received(self, state: RequestState, replica: Replica) -> None:
        replica.coming.remove(state)
        state.received_ps = self._kernel.now_ps
        self._hooks.request_received(state, state.received_ps)
        if self.connector and replica.role is Role.PREFILL and state.request.output_tokens > 1:
            self.connector.arrived(state)
        else:
            replica.submit(state)

    def request_ended(self, state: RequestState) -> None:
        """Its last token is with the client at ``end_ps``: the session's next turn comes after the think time."""
        self._hooks.request_ended(state)
        self.outstanding -= 1
        request = state.request
        if request.next_turn is not None:
            arrival = state.end_ps + request.think_ps
            self._expect(replace(request.next_turn, arrival_ps=arrival), pull=False)

    def prompt_computed(self, state: RequestState) -> None:
        """Its first token is out, and another engine is to decode it."""
        if self.connector is None:
            raise AssertionError("an engine hands over, but there is no connector")
        self._hooks.prompt_computed(state, self._kernel.now_ps)
        self.connector.prompt_computed(state)

    def check_done(self) -> None:
        """Raises StalledError, naming who waits for what, if requests are left over."""
        if not self.outstanding:
            return
        stuck = []
        for replica in self._replicas:
            waiting, running = replica.load
            view = replica.engine.view()
            handed = len(view.handed)
            if waiting or running or handed:
                more = f", {handed} computed and not yet taken over" if handed else ""
                stuck.append(
                    f"{replica.name} has {waiting} waiting and {running} running requests{more}, "
                    f"{view.kv.free} of {view.kv.size} KV blocks free"
                )
        raise StalledError(
            f"nothing can happen any more, but {self.outstanding} requests are not done: " + "; ".join(stuck)
        )

"""Arrivals: pulls requests from the workload one by one, routes them, sends sessions' next turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from ..errors import InputError, StalledError
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..units import PS_PER_S
from ..workload.request import Request
from .clients import Clients
from .hooks import ServingHooks
from .interface import KvConnector, Role
from .refusals import refusal
from .replica import Replica
from .request_state import RequestState
from .router import InternalLb, Router


class Dispatcher:
    """Holds one future arrival at a time, so that a workload of any length streams.

    Attributes:
        outstanding: requests that are known and not done.
        arrived: requests that have come to the router.
        connector: moves K and V between replicas that share requests, if there are any.
        clients: who sends, where it is a closed loop.

    A request that cannot be served is refused as a server would, with 400, unless ``strict`` makes it an error.
    """

    def __init__(
        self,
        kernel: Kernel,
        workload: Iterator[Request],
        router: Router,
        replicas: Sequence[Replica],
        hooks: ServingHooks,
        clients: Clients | None = None,
        strict: bool = False,
    ) -> None:
        self._hooks, self.clients, self._strict = hooks, clients, strict
        self._kernel, self._workload, self.router, self._replicas = kernel, workload, router, replicas
        self._first = [replica for replica in replicas if replica.role is not Role.DECODE]
        self._second = [replica for replica in replicas if replica.role is Role.DECODE]
        self.connector: KvConnector | None = None
        self.outstanding = 0
        self.arrived = 0
        self._impatient: set[int] = set()  # requests whose client will give them up

    def start(self) -> None:
        self._pull()

    def decode_replica(self, state: RequestState) -> Replica:
        """Where a request goes on whose prompt is, or will be, computed elsewhere."""
        able = [replica for replica in self._second if refusal(state.request, [replica]) is None]
        return self.router.choose(state.request, able)

    def decoders(self, request: Request) -> Sequence[Replica]:
        """Those of which one goes on where a prompt is computed elsewhere; none if one token was all."""
        first = self.connector is not None and self.connector.decode_gives_first_token
        return self._second if first or request.output_tokens > 1 else ()

    def _pull(self) -> None:
        request = next(self._workload, None)
        if request is None:
            return
        if self.clients is None:
            self._expect(request, pull=True)
            return
        self.outstanding += 1
        due = max(request.arrival_ps, self._kernel.now_ps)
        try_now = partial(self._due, request, self.clients)
        self._kernel.at(due, Priority.ARRIVAL, 0, "due", request.id, try_now, 0, request)

    def _due(self, request: Request, clients: Clients) -> None:
        """It would be sent now, if there is a place; the next is looked at when it has one."""
        if clients.enter(request):
            self._send(request, clients)

    def _send(self, request: Request, clients: Clients) -> None:
        arrival = clients.arrival_ps(self._kernel.now_ps)
        self.outstanding -= 1  # and is expected again
        self._expect(replace(request, arrival_ps=arrival), pull=False)
        self._pull()

    def _place_free(self, clients: Clients) -> None:
        request = clients.leave()
        if request is not None:
            self._send(request, clients)

    def _leaves(self, request: Request, now_ps: int) -> None:
        """A request, the last of its session, is over for its client at that time."""
        if self.clients is not None:
            free = partial(self._place_free, self.clients)
            due = now_ps + self.clients.think_ps()
            self._kernel.at(due, Priority.ARRIVAL, 0, "client", request.id, free, subject=request)

    def _expect(self, request: Request, pull: bool) -> None:
        self.outstanding += 1
        arrive = partial(self._arrive, request, pull)
        # Nothing in the run causes what comes from the workload; a session's next turn comes from the one before.
        cause = 0 if pull else None
        self._kernel.at(request.arrival_ps, Priority.ARRIVAL, 0, "arrival", request.id, arrive, cause, request)

    def _arrive(self, request: Request, pull: bool) -> None:
        self.arrived += 1
        replica = self.router.choose(request, self._first)
        state = replica.new_request(request)
        replica.coming.append(state)
        now = self._kernel.now_ps
        self._hooks.request_arrived(state, now)
        if request.abort_after_ps is not None:
            self._impatient.add(request.id)
            give_up = partial(self._abort, state)
            due = now + request.abort_after_ps
            self._kernel.at(due, Priority.ARRIVAL, 0, "abort", request.id, give_up, subject=request)
        received = replica.servers.receive(request.input_tokens, now)
        receive = partial(self._received, state, replica)
        if received > now:
            self._kernel.at(received, Priority.ARRIVAL, 0, "received", request.id, receive, subject=request)
        else:
            receive()
        if pull:
            self._pull()

    def _received(self, state: RequestState, replica: Replica) -> None:
        if state.aborted:
            return
        replica.coming.remove(state)
        decoders = self.decoders(state.request) if replica.role is Role.PREFILL else ()
        refused = refusal(state.request, [replica], decoders)
        if refused is not None:
            if self._strict:
                raise refused.error
            self._fail(state, refused.reason, refused.error)
            return
        state.received_ps = self._kernel.now_ps
        self._hooks.request_received(state, state.received_ps)
        if self.connector and decoders:
            self.connector.arrived(state)
        else:
            replica.submit(state)

    def counted(self, replica: Replica, step: int, counts: tuple[int, int]) -> None:
        """A member of a group that steps together has that many requests, waiting and running, after a step."""
        if isinstance(self.router, InternalLb):
            self.router.tell(replica, self._kernel.now_ps, step, counts)

    def request_ended(self, state: RequestState) -> None:
        """Its last token is with the client at ``end_ps``: the session's next turn comes after the think time."""
        self._hooks.request_ended(state)
        self.outstanding -= 1
        request = state.request
        self._impatient.discard(request.id)
        if request.next_turn is not None:
            arrival = state.end_ps + request.think_ps
            self._expect(replace(request.next_turn, arrival_ps=arrival), pull=False)
        else:
            self._leaves(request, state.end_ps)

    def _fail(self, state: RequestState, reason: str, error: InputError) -> None:
        """It is not served, and what its session would have sent after it is not sent."""
        self.outstanding -= 1
        self._impatient.discard(state.request.id)
        self._hooks.request_failed(state, reason, f"{error.field}: {error.allowed}", self._kernel.now_ps)
        self._leaves(state.request, self._kernel.now_ps)

    def _abort(self, state: RequestState) -> None:
        """Its client gives it up, unless its last token is out: whoever has it drops it."""
        request = state.request
        if request.id not in self._impatient:
            return
        for replica in self._replicas:
            for held in [one for one in replica.requests() if one.request.id == request.id]:
                if held in replica.coming:
                    replica.coming.remove(held)
                else:
                    replica.engine.abort(held)
                held.aborted = True
            replica.wake()
        if self.connector is not None:
            self.connector.aborted(request.id)
        state.aborted = True
        waited = f"its client gave it up after {(request.abort_after_ps or 0) / PS_PER_S:g} s"
        self._fail(state, "cancelled", InputError(f"request {request.id}", "cancelled", None, waited))

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

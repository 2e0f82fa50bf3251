"""Arrivals: pulls requests from the workload one by one, routes them, sends sessions' next turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from ..errors import InputError, StalledError
from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..units import PS_PER_S
from ..workload.request import Request
from .clients import Clients
from .hooks import ServingHooks
from .interface import KvConnector, Role
from .refusals import refusal
from .replica import Replica, Standing, serving
from .request_state import RequestState
from .router import InternalLb, Router, choose


class Watcher(Protocol):
    """Somebody who decides by what has ended."""

    def request_ended(self, state: RequestState) -> None: ...


class Dispatcher:
    """Holds one future arrival at a time, so that a workload of any length streams.

    Attributes:
        outstanding: requests that are known and not done.
        arrived: requests that have come to the router.
        connector: moves K and V between replicas that share requests, if there are any.
        clients: who sends, where it is a closed loop.
        retry_ps, max_retries: when, and how often, a request is sent again whose replica has failed.
        lost, retried, shed: requests whose replica has failed, those of them sent again, and those not let in.
        max_waiting: a request that finds at least as many waiting everywhere is not let in.
        watchers: told of each request that ends: they decide by that.
        held: requests that came while no replica served, by number; see `resume`.
        all_serve: no replica ever fails, starts or is drained.
        next_arrival_ps: of the request that comes next from the workload, or came last.
        elsewhere: replicas, by number, that another part of the run has: requests for them are counted and let go.

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
        self.retry_ps, self.max_retries = 0, 0
        self.lost = self.retried = self.shed = 0
        self.max_waiting: int | None = None
        self.watchers: Sequence[Watcher] = ()
        self._impatient: set[int] = set()  # requests whose client will give them up
        self._tries: Counter[int] = Counter()
        self._resent: set[int] = set()  # requests that are sent again soon
        self.held: dict[int, Request] = {}
        self.all_serve = True
        self.next_arrival_ps = 0
        self.elsewhere: Collection[int] = ()
        self._left_out: set[int] = set()  # requests that are not sent when they are due

    @property
    def replica_count(self) -> int:
        """How many there are, in whatever role."""
        return len(self._replicas)

    def start(self) -> None:
        self._pull()

    def only(self, kind: Callable[[Iterator[Request]], Iterator[Request]]) -> None:
        """Take requests through ``kind``, which refuses others."""
        self._workload = kind(self._workload)

    def decode_replica(self, state: RequestState) -> Replica:
        """Where a request goes on whose prompt is, or will be, computed elsewhere."""
        mine = serving(state.request, self._second)
        able = [replica for replica in mine if refusal(state.request, [replica]) is None]
        return choose(self.router, state.request, standing(able))

    def decoders(self, request: Request) -> Sequence[Replica]:
        """Those of which one goes on where a prompt is computed elsewhere; none if one token was all."""
        first = self.connector is not None and self.connector.decode_gives_first_token
        return serving(request, self._second) if first or request.output_tokens > 1 else ()

    def prefillers(self, request: Request) -> Sequence[Replica]:
        """Those of which one computes its prompt."""
        return serving(request, self._first)

    def _pull(self) -> None:
        request = next(self._workload, None)
        if request is None:
            return
        if self.clients is None:
            self.next_arrival_ps = request.arrival_ps
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

    def leave_out(self, request: int) -> None:
        """It is not sent when it is due, nor what its session would have sent after it."""
        self._left_out.add(request)

    def _arrive(self, request: Request, pull: bool) -> None:
        if request.id in self._left_out:
            self.outstanding -= 1
            self._leaves(request, self._kernel.now_ps)
            if pull:
                self._pull()
            return
        self.arrived += 1
        self._send_on(request)
        if pull:
            self._pull()

    def _send_on(self, request: Request, again: bool = False) -> None:
        """To a replica; ``again``: the one it was sent to has failed."""
        mine, now = self.prefillers(request), self._kernel.now_ps
        able = mine if self.all_serve else [one for one in mine if one.standing is Standing.SERVES]
        full = self.max_waiting is not None and not again and self._full(able)
        replica = choose(self.router, request, able) if able else mine[0]
        if replica.number in self.elsewhere:
            self.outstanding -= 1
            return
        state = replica.new_request(request)
        replica.catch_up()
        if able and not full:
            replica.coming.append(state)
        self._hooks.request_arrived(state, now)
        if request.abort_after_ps is not None and not again:
            self._impatient.add(request.id)
            give_up = partial(self._abort, state)
            due = now + request.abort_after_ps
            self._kernel.at(due, Priority.ARRIVAL, 0, "abort", request.id, give_up, subject=request)
        if full:
            self.shed += 1
            why = f"{self.max_waiting} requests or more wait at each of {len(able)} replicas that serve"
            self._fail(state, "shed", InputError(f"request {request.id}", "not let in", None, why))
            return
        if not able:
            self.held[request.id] = request
            return
        received = replica.servers.receive(request.input_tokens, now)
        receive = partial(self._received, state, replica)
        if received > now:
            self._kernel.at(received, Priority.ARRIVAL, 0, "received", request.id, receive, subject=request)
        else:
            receive()

    def _full(self, able: Sequence[Replica]) -> bool:
        """Whether as many wait at each as may, or with the router where none serves."""
        most = self.max_waiting or 0
        return all(one.load[0] >= most for one in able) if able else len(self.held) >= most

    def resume(self) -> None:
        """A replica serves again: when all have come back that do so now, what was held is sent."""
        if self.held:
            self._kernel.at(self._kernel.now_ps, Priority.DECISION, 0, "resume", len(self.held), self._let_go)

    def _let_go(self) -> None:
        held, self.held = self.held, {}
        for request in held.values():
            self._send_on(request, again=True)

    def _received(self, state: RequestState, replica: Replica) -> None:
        if state.aborted:
            return
        replica.catch_up()
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

    def counted(self, replica: Replica, step: int, counts: tuple[int, int], lockstep: bool) -> None:
        """It has that many requests, waiting and running, after a step, which the whole group took (``lockstep``)."""
        if isinstance(self.router, InternalLb):
            self.router.tell(replica, self._kernel.now_ps, step, counts, lockstep)

    def _over(self, request: int) -> None:
        if isinstance(self.router, InternalLb):
            self.router.over(request)

    def request_ended(self, state: RequestState) -> None:
        """Its last token is with the client at ``end_ps``: the session's next turn comes after the think time."""
        self._hooks.request_ended(state)
        self._over(state.request.id)
        for watcher in self.watchers:
            watcher.request_ended(state)
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
        self._over(state.request.id)
        self.outstanding -= 1
        self._impatient.discard(state.request.id)
        self._hooks.request_failed(state, reason, f"{error.field}: {error.allowed}", self._kernel.now_ps)
        self._leaves(state.request, self._kernel.now_ps)

    def _abort(self, state: RequestState) -> None:
        """Its client gives it up, unless its last token is out: whoever has it drops it."""
        request = state.request
        if request.id not in self._impatient:
            return
        self._drop(request)
        state.aborted = True
        self._resent.discard(request.id)
        self.held.pop(request.id, None)
        waited = f"its client gave it up after {(request.abort_after_ps or 0) / PS_PER_S:g} s"
        self._fail(state, "cancelled", InputError(f"request {request.id}", "cancelled", None, waited))

    def _drop(self, request: Request) -> None:
        """Whoever has it drops it."""
        for replica in self._replicas:
            theirs = [one for one in replica.requests() if one.request.id == request.id]
            for held in theirs:
                if held in replica.coming:
                    replica.coming.remove(held)
                else:
                    replica.engine.abort(held)
                held.aborted = True
            if theirs:  # nothing has changed for others
                replica.wake()
        if self.connector is not None:
            self.connector.aborted(request.id)

    def lose(self, replicas: Sequence[Replica]) -> None:
        """They have failed: what they had is sent again from its beginning, until it was often enough."""
        lost = {state.request.id: state for replica in replicas for state in replica.requests()}
        for number, state in sorted(lost.items()):
            self._drop(state.request)
            self.lost += 1
            self._tries[number] += 1
            self._hooks.request_lost(state, self._kernel.now_ps)
            if self._tries[number] > self.max_retries:
                why = f"its replica failed, for the {self._tries[number]}. time" if self.max_retries else "lost"
                self._fail(state, "replica_failed", InputError(f"request {number}", "replica", None, why))
                continue
            self._resent.add(number)
            again, due = partial(self._resend, state.request), self._kernel.now_ps + self.retry_ps
            self._kernel.at(due, Priority.ARRIVAL, 0, "retry", number, again, subject=state.request)

    def _resend(self, request: Request) -> None:
        if request.id in self._resent:
            self._resent.discard(request.id)
            self.retried += 1
            self._send_on(request, again=True)

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
        stuck = [f"no instance serves, and {len(self.held)} wait for one"] if self.held else []
        for replica in self._replicas:
            waiting, running = replica.load
            view = replica.engine.view()
            handed = len(view.handed)
            if waiting or running or handed:
                more = f", {handed} computed and not yet taken over" if handed else ""
                free = f"{view.kv.free} of {view.kv.size} KV blocks free"
                first = f"the first waits for {view.blocked}" if view.blocked else free
                stuck.append(f"{replica.name} has {waiting} waiting and {running} running requests{more}, {first}")
        raise StalledError(
            f"nothing can happen any more, but {self.outstanding} requests are not done: " + "; ".join(stuck)
        )


def standing(replicas: Sequence[Replica]) -> Sequence[Replica]:
    """Those that serve; else those that soon will; else all."""
    best = min((replica.standing for replica in replicas), default=None)
    return [replica for replica in replicas if replica.standing == best]

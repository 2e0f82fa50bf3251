"""One engine in its place: its name and number in the scenario, and the API servers before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum

from ..workload.request import Request
from .api_server import ApiServers, ServerModel
from .interface import Caching, Engine, Role
from .request_state import RequestState

DIRECT = ApiServers(ServerModel(), 0)


class Standing(IntEnum):
    """Whom a router may choose: of those with the lowest standing there are."""

    SERVES = 0
    WILL_SERVE = 1
    LEAVES = 2


class Replica:
    """One data-parallel rank of an instance: what routers choose among.

    Attributes:
        name: of the instance, or of this rank of it.
        number: its place among all replicas of the scenario.
        engine: the serving engine.
        servers: the instance's API servers, between it and the clients.
        model: what it serves.
        coming: requests sent to it that are still in an API server.
        wake: makes its step loop look for work; set by that loop.
        catch_up: makes that loop do what steps up to now have done; before what they see of the replica changes (who
            is in an API server, what these have to do).
        standing: whether it takes requests; set by the fleet.
    """

    def __init__(self, name: str, number: int, engine: Engine, servers: ApiServers = DIRECT, model: str = "") -> None:
        self.name, self.number, self.engine, self.servers, self.model = name, number, engine, servers, model
        self._caching = engine if isinstance(engine, Caching) else None
        self.coming: list[RequestState] = []
        self.wake: Callable[[], None] = lambda: None
        self.catch_up: Callable[[], None] = lambda: None
        self.standing = Standing.SERVES

    @property
    def role(self) -> Role:
        return self.engine.role

    @property
    def load(self) -> tuple[int, int]:
        """(waiting, running) requests; those still in an API server wait."""
        waiting, running = self.engine.load
        return waiting + len(self.coming), running

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens that wait to be computed."""
        return sum(state.num_tokens for state in self.coming) + self.engine.queued_tokens

    @property
    def kv_use(self) -> float:
        """Share of its KV blocks that requests hold."""
        return self.engine.used_blocks / self.engine.num_blocks

    @property
    def cached_blocks(self) -> int | None:
        """KV blocks that nobody holds and whose content can be found; None where its engine does not say."""
        return None if self._caching is None else self._caching.cached_blocks

    def cached_tokens(self, request: Request) -> int:
        """Tokens of its prompt that are in the prefix cache now."""
        return self.engine.cached_tokens(request)

    def requests(self) -> list[RequestState]:
        """All it has, in no order that matters."""
        return [*self.coming, *self.engine.requests()]

    def new_request(self, request: Request) -> RequestState:
        """A record of a request that this replica gets."""
        state = self.engine.new_request(request)
        state.place = self.number
        return state

    def submit(self, state: RequestState) -> None:
        """A request reaches the engine now. Raises InputError for one that could never be served."""
        self.engine.check(state.request)
        self.engine.submit(state)
        self.wake()


def serving(request: Request, replicas: Sequence[Replica]) -> Sequence[Replica]:
    """Those of them that have the model it asks for."""
    return [one for one in replicas if one.model == request.model] if request.model else replicas

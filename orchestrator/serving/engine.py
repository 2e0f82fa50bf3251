"""One serving engine: an input queue, a scheduler, a KV pool. `StepLoop` makes it step."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from ..errors import InputError
from ..workload.request import Request
from .api_server import ApiServers, ServerModel
from .kv.hashing import hash_blocks
from .request_state import RequestState
from .vllm.scheduler import Scheduler


class Role(StrEnum):
    """What an engine does of a request."""

    BOTH = "both"
    PREFILL = "prefill"
    DECODE = "decode"


DIRECT = ApiServers(ServerModel(), 0)


class Engine:
    """One data-parallel rank of an instance. ``number`` is its place among all engines of the scenario.

    ``servers`` are the instance's, between it and the clients.
    """

    def __init__(
        self,
        name: str,
        number: int,
        scheduler: Scheduler,
        max_model_len: int,
        role: Role = Role.BOTH,
        servers: ApiServers = DIRECT,
    ) -> None:
        self.name, self.number, self.max_model_len, self.role = name, number, max_model_len, role
        self.scheduler, self.servers = scheduler, servers
        self.wake: Callable[[], None] = lambda: None  # set by its step loop
        self.coming: list[RequestState] = []  # sent to it, still in an API server
        self.arrived: list[RequestState] = []  # not yet looked at

    @property
    def load(self) -> tuple[int, int]:
        """(waiting, running) sequences, those among the waiting that it has not seen yet."""
        waiting, running = self.scheduler.load
        return waiting + len(self.coming) + len(self.arrived), running

    def sequences(self) -> list[RequestState]:
        """All it has, in no order that matters."""
        scheduler = self.scheduler
        return [
            *self.coming,
            *self.arrived,
            *scheduler.waiting,
            *scheduler.inbound.sequences(),
            *scheduler.running.values(),
            *scheduler.handed.values(),
        ]

    @property
    def queued_tokens(self) -> int:
        """Prompt tokens that wait to be computed."""
        waiting = [*self.coming, *self.arrived, *self.scheduler.waiting]
        return sum(sequence.num_tokens for sequence in waiting) + self.scheduler.unfinished_tokens

    def cached_tokens(self, request: Request) -> int:
        """Tokens of its prompt that are in the prefix cache now."""
        cache = self.scheduler.cache
        if request.token_ids is None or not self.scheduler.config.enable_prefix_caching:
            return 0
        names = hash_blocks(request.token_ids[: request.input_tokens], cache.block_size)
        return len(cache.pool.get_cached_blocks(names, len(names))) * cache.block_size

    def submit(self, sequence: RequestState) -> None:
        """A request reaches this engine now; it is looked at between two steps.

        Raises InputError for one that could never be served.
        """
        self._check_fits(sequence.request)
        sequence.place = self.number
        self.arrived.append(sequence)
        self.wake()

    def drain(self, now_ps: int) -> None:
        """Move what has arrived to the scheduler, between two steps."""
        for sequence in self.arrived:
            if sequence.queued_ps < 0:
                sequence.queued_ps = now_ps
            self.scheduler.add(sequence)
        self.arrived.clear()

    def _check_fits(self, request: Request) -> None:
        """A request too large for the empty engine would wait for ever: refuse it on arrival."""
        outputs = 1 if self.role is Role.PREFILL else request.output_tokens
        tokens = request.input_tokens + outputs
        block_size, blocks = self.scheduler.config.block_size, self.scheduler.pool.size
        need = -(-(tokens - 1) // block_size)  # the last token's K and V are never computed
        if self.role is Role.DECODE:  # blocks for the prompt and the token after it are reserved at once
            need = max(need, -(-(request.input_tokens + 1) // block_size))
        where = f"request {request.id}"
        if tokens > self.max_model_len:
            limit = f"instance {self.name} takes at most {self.max_model_len} (max_model_len)"
            raise InputError(where, "input + output tokens", tokens, limit)
        if need > blocks:
            limit = f"instance {self.name} has {blocks} blocks of {block_size} tokens"
            raise InputError(where, "KV blocks", need, limit)

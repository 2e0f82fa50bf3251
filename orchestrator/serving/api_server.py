"""The way between a client and an engine: vLLM's API servers.

Each is one Python process with one event loop, so what it does it does one after another: it parses and
tokenizes a request, and turns every token of every step into text and a chunk of its stream. The engine
does not wait for it. Derivation of the figures: docs/engines.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class ServerModel:
    """What an API server and its client take.

    Attributes:
        request_latency_ps: from the client's call to the engine's queue, beside what occupies the server.
        request_ps: for how long a request occupies the server.
        prompt_token_ps: what each token of its prompt adds to that.
        output_ps: for how long an output token occupies the server.
        output_latency_ps: from the end of a step to the client, beside that.
        counts_in_flight: it chooses data-parallel ranks by its own requests in flight, too (`FlightCounting`).
    """

    request_latency_ps: int = 0
    request_ps: int = 0
    prompt_token_ps: int = 0
    output_ps: int = 0
    output_latency_ps: int = 0
    counts_in_flight: bool = False

    def times(self, factor: float) -> ServerModel:
        """The same, so many times as long."""
        names = [field.name for field in fields(self) if field.name.endswith("_ps")]
        return replace(self, **{name: round(getattr(self, name) * factor) for name in names})


class ApiServers:
    """``count`` API servers of one instance; none: requests come through the engine's Python API, at once.

    Requests go to each in turn. A step's tokens are shared evenly and reach their clients together, when
    the last is through: a server turns all into text before it sends the first.
    """

    def __init__(self, model: ServerModel, count: int) -> None:
        self._model = model
        self.counts_in_flight = model.counts_in_flight
        self.free_ps = [0] * count  # when each has done what it has been given
        self.requests = 0

    @property
    def count(self) -> int:
        return len(self.free_ps)

    def receive(self, prompt_tokens: int, now_ps: int) -> int:
        """When a request that is sent now is in the engine's queue."""
        if not self.free_ps:
            return now_ps
        turn = self.requests % len(self.free_ps)
        self.requests += 1
        model = self._model
        self.free_ps[turn] = max(self.free_ps[turn], now_ps) + model.request_ps + prompt_tokens * model.prompt_token_ps
        return self.free_ps[turn] + model.request_latency_ps

    def deliver(self, tokens: int, now_ps: int) -> int:
        """When the tokens of a step that ends now are at their clients."""
        return self.deliver_each({0: tokens}, (now_ps,))[0][0] if tokens else now_ps

    def deliver_each(self, tokens: Mapping[int, int], ends_ps: Sequence[int]) -> dict[int, list[int]]:
        """The same of steps that end then, one after another: in each so many tokens of each member, in order."""
        if not self.free_ps:
            return {member: list(ends_ps) for member in tokens}
        found: dict[int, list[int]] = {member: [] for member in tokens}
        busy = [(found[member], -(-count // self.count) * self._model.output_ps) for member, count in tokens.items()]
        for now in ends_ps:
            for delivered, share in busy:
                self.free_ps = [max(free, now) + share for free in self.free_ps]
                delivered.append(max(self.free_ps) + self._model.output_latency_ps)
        return found

"""Lanes: the steps an engine has in flight (vLLM: its batch queue)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..batch import Batch
from ..interface import PromptChunk, Step
from ..request_state import RequestState
from .decoders import Decoders
from .request_state import VllmRequestState


class Chunk(NamedTuple):
    """``tokens`` of a request's prompt in a step, up to ``end``; ``last``: the prompt is whole with them.
    ``life`` tells whether it has been preempted since."""

    state: VllmRequestState
    tokens: int
    end: int
    last: bool
    life: int


@dataclass(slots=True)
class Lane:
    """One step in flight at a time: who decodes in it, and which prompts have a chunk in it.

    ``landing``: preempted while their token was on its way; it still counts when it lands. ``number``: of its last step
    among all, where `Fences` count them. ``latest``: its last step, which may have been counted on, and its tokens not
    be out.
    """

    decoders: Decoders
    chunks: list[Chunk] = field(default_factory=list)
    in_flight: bool = False
    landing: list[VllmRequestState] = field(default_factory=list)
    number: int = 0
    latest: VllmStep | None = None

    @property
    def chunk_tokens(self) -> int:
        """Tokens of prompts in it."""
        return sum(chunk.tokens for chunk in self.chunks)

    def steps_begun(self, counted_on: bool) -> int:
        """How many rows its step log will have if none begins any more; ``counted_on``: steps are settled as they
        begin, and one that is only scheduled may be in flight here."""
        return self.decoders.step + (self.in_flight and not counted_on)

    def drop_chunks(self, state: VllmRequestState) -> None:
        """It is not computed in the step that is being put together."""
        for chunk in [chunk for chunk in self.chunks if chunk.state is state]:
            self.chunks.remove(chunk)
            state.num_in_flight -= 1

    def batch(self) -> Batch:
        """The shape of the step that has been put together."""
        decoders = self.decoders
        decodes, total = decoders.count, 0
        high = low = 0
        if decodes:
            total, high, low = decoders.context_sum, decoders.context_max, decoders.context_min
        prompts: list[int] = []
        for chunk in self.chunks:
            tokens, cached = chunk.tokens, chunk.end - chunk.tokens
            if tokens > 1:
                prompts += (tokens, cached)
            else:  # the last token of a prompt is one query over its context, like a decode
                high, low = (max(high, cached), min(low, cached)) if decodes else (cached, cached)
                decodes, total = decodes + 1, total + cached
        return Batch(tuple(prompts), decodes, total, high, low)

    def members(self) -> list[VllmRequestState]:
        """Requests computed in the step; before it is settled."""
        return [*self.decoders.members(), *(chunk.state for chunk in self.chunks)]

    def first_tokens(self, stale: list[VllmRequestState], counted_on: bool) -> list[VllmRequestState]:
        """Requests whose prompt is whole with the step that ends; those preempted since are ``stale``, and go to
        ``landing`` if theirs is. ``counted_on``: none of its tokens is out before `Sequences.finish`."""
        whole = []
        for chunk in self.chunks:
            state = chunk.state
            if state.aborted:
                continue
            if counted_on or chunk.life != state.num_preemptions:
                stale.append(state)
            else:
                state.num_in_flight -= 1
            if chunk.life != state.num_preemptions:
                if chunk.last:
                    self.landing.append(state)
            elif chunk.last:
                whole.append(state)
        return whole


@dataclass(slots=True)
class VllmStep(Step):
    """The step of a lane. ``life`` tells whether the engine has failed since.

    ``filled``: who fills a block in it with a token that is not known when it is scheduled; with how many tokens
    computed, and in which life. ``stale``: whose part in it is in flight until it has ended, though others count on it
    or their life was cut short. ``out``: it has ended. ``pictured``: of whom images may be let go then, and how many
    tokens of its prompt count at most.
    """

    lane: Lane = field(kw_only=True)
    filled: list[tuple[VllmRequestState, int, int]] = field(default_factory=list)
    life: int = 0
    first: list[VllmRequestState] = field(default_factory=list)
    stale: list[VllmRequestState] = field(default_factory=list)
    out: bool = False
    pictured: list[tuple[VllmRequestState, int]] = field(default_factory=list)
    ended: list[VllmRequestState] = field(default_factory=list)
    handed: list[VllmRequestState] = field(default_factory=list)

    def members(self) -> list[RequestState]:
        return list(self.lane.members())

    def prompt_chunks(self) -> list[PromptChunk]:
        return [PromptChunk(chunk.state, chunk.tokens, chunk.end) for chunk in self.lane.chunks]


def gather(lanes: Iterable[Lane]) -> Lane | None:
    """An idle lane with every decoder that has no token on its way; None if none is idle."""
    idle = [lane for lane in lanes if not lane.in_flight]
    if not idle:
        return None
    chosen = max(idle, key=lambda lane: lane.decoders.count)
    for lane in idle:
        if lane is not chosen:
            for sequence in lane.decoders.members():
                lane.decoders.leave(sequence)
                chosen.decoders.join(sequence)
    return chosen

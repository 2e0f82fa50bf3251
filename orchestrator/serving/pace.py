"""What a replica's hardware takes, as it was found before the run, and what a request will take there by that."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..workload.request import Request
from .interface import Role
from .replica import Replica


class Took(NamedTuple):
    """Time and energy of work, ps and pJ."""

    duration_ps: float
    energy_pj: float

    def toward(self, other: Took, share: float) -> Took:
        """On the straight line through both: this one at 0, the other at 1."""
        return Took(*(here + (there - here) * share for here, there in zip(self, other, strict=True)))


class Line:
    """``values`` at ``places`` (rising, two at least), straight lines between and beyond."""

    def __init__(self, places: Sequence[int], values: Sequence[Took]) -> None:
        self._places, self._values = places, values

    def at(self, place: float) -> Took:
        right = min(max(bisect_left(self._places, place), 1), len(self._places) - 1)
        left = right - 1
        share = (place - self._places[left]) / (self._places[right] - self._places[left])
        return self._values[left].toward(self._values[right], share)


@dataclass(frozen=True, slots=True)
class Pace:
    """What a replica takes when it has nothing else to do.

    Attributes:
        prompt: by its tokens, all steps that compute it.
        contexts: the two lengths of context at which decodes were asked about.
        decodes: at each of them, by how many decode together, one step.
        seats: how many can decode together.
        energy_known: whether its accelerators say what they spend.
        unpriced: its PIM devices that do not.
    """

    prompt: Line
    contexts: tuple[int, int]
    decodes: tuple[Line, Line]
    seats: int
    energy_known: bool
    unpriced: tuple[str, ...] = ()

    def decode(self, together: float, context: float) -> Took:
        """One step of so many decodes with so many tokens each."""
        short, long = self.contexts
        share = (context - short) / (long - short)
        return self.decodes[0].at(together).toward(self.decodes[1].at(together), share)


class Outlook(NamedTuple):
    """What a request is expected to take at a replica: until its first token, for each token after it, in all (ps); and
    its share of what is spent (pJ)."""

    ttft_ps: float
    tpot_ps: float
    latency_ps: float
    energy_pj: float


def outlook(request: Request, replica: Replica, pace: Pace) -> Outlook:
    """Of a request that comes now.

    Its prompt, less what is in the prefix cache, comes after those that wait; it decodes beside all that are there.
    Where these are more than have room, it waits its turn. The length of its answer is taken as known. What is left
    out: prompts that come later, and what it takes from the others.
    """
    waiting, running = replica.load
    ttft = energy = 0.0
    if replica.role is not Role.DECODE:
        before, own = replica.queued_tokens, max(1, request.input_tokens - replica.cached_tokens(request))
        mine = pace.prompt.at(own)
        ttft, energy = mine.duration_ps, mine.energy_pj
        if before:
            ttft += pace.prompt.at(before).duration_ps
    if replica.role is Role.PREFILL:
        return Outlook(ttft, 0.0, ttft, energy)
    others, context = waiting + running, request.input_tokens + request.output_tokens / 2
    held = replica.engine.num_blocks * replica.engine.block_size  # tokens
    room = max(1, min(pace.seats, held // (request.input_tokens + request.output_tokens)))
    together = min(others + 1, room)
    step = pace.decode(together, context)
    ttft += max(0, others + 1 - room) / room * request.output_tokens * step.duration_ps
    if replica.role is Role.DECODE:
        ttft += step.duration_ps
    latency = ttft + (request.output_tokens - 1) * step.duration_ps
    return Outlook(ttft, step.duration_ps, latency, energy + request.output_tokens * step.energy_pj / together)

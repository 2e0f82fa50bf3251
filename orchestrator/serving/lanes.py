"""Lanes: the steps an engine has in flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from .decoders import Decoders
from .sequence import Sequence


class Chunk(NamedTuple):
    """Prompt tokens of a sequence in a step, up to ``end``. ``last``: the prompt is whole with them.
    ``life`` tells whether the sequence has been preempted since."""

    sequence: Sequence
    tokens: int
    end: int
    last: bool
    life: int


@dataclass(slots=True)
class Lane:
    """One step in flight at a time: who decodes in it, and which prompts have a chunk in it.

    ``landing``: preempted while their token was on its way; it still counts when it lands.
    """

    decoders: Decoders
    chunks: list[Chunk] = field(default_factory=list)
    in_flight: bool = False
    landing: list[Sequence] = field(default_factory=list)

    def first_tokens(self) -> list[Sequence]:
        """Whose prompt is whole with the step that ends; those preempted since go to ``landing``."""
        whole = []
        for chunk in self.chunks:
            alive = chunk.life == chunk.sequence.preemptions
            if chunk.last and not alive:
                self.landing.append(chunk.sequence)
                continue
            chunk.sequence.airborne -= 1
            if chunk.last:
                whole.append(chunk.sequence)
        return whole

"""What one engine step computes."""

from __future__ import annotations

from typing import NamedTuple


class Batch(NamedTuple):
    """The shape of a step; nothing about who is in it.

    ``prompts`` is flat: (new tokens, cached tokens) of every sequence with more than one new token.
    ``decodes`` sequences have one new token each; their contexts (tokens cached before this step)
    are given as sum, max and min.
    """

    prompts: tuple[int, ...]
    decodes: int
    context_sum: int
    context_max: int
    context_min: int

    @property
    def tokens(self) -> int:
        return self.decodes + sum(self.prompts[::2])

    @property
    def sequences(self) -> int:
        return self.decodes + len(self.prompts) // 2

    def later(self, steps: int) -> Batch:
        """The same decodes some steps on; only for a batch without prompts."""
        return Batch(
            (),
            self.decodes,
            self.context_sum + self.decodes * steps,
            self.context_max + steps,
            self.context_min + steps,
        )

"""What one engine step computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Batch(NamedTuple):
    """The shape of a step; nothing about who is in it.

    ``prompts`` is flat: (new tokens, cached tokens) of every sequence with more than one new token.
    ``decodes`` sequences have one new token each; their contexts (tokens cached before this step)
    are given as sum, max and min. ``padding`` tokens are computed for nobody: members of a
    data-parallel group that step together are filled up to the largest. ``images``: tokens of each that is encoded.
    ``rows``: sequences whose next token is computed, where some are of nobody.
    """

    prompts: tuple[int, ...]
    decodes: int
    context_sum: int
    context_max: int
    context_min: int
    padding: int = 0
    images: tuple[int, ...] = ()
    rows: int = 0

    @property
    def image_tokens(self) -> int:
        return sum(self.images)

    @property
    def tokens(self) -> int:
        return self.decodes + self.padding + (sum(self.prompts[::2]) if self.prompts else 0)

    @property
    def sequences(self) -> int:
        return self.rows or self.decodes + len(self.prompts) // 2

    @property
    def asked(self) -> int:
        """Sequences that are somebody's."""
        return self.decodes + len(self.prompts) // 2

    def later(self, steps: int) -> Batch:
        """The same decodes some steps on; only for a batch without prompts."""
        return Batch(
            (),
            self.decodes,
            self.context_sum + self.decodes * steps,
            self.context_max + steps,
            self.context_min + steps,
            self.padding,
            rows=self.rows,
        )

    def padded_to(self, tokens: int) -> Batch:
        """The same with as many tokens as asked for."""
        return self._replace(padding=self.padding + tokens - self.tokens)


#: What a member without work computes so that the others' collectives can complete (vLLM: a dummy batch).
DUMMY = Batch((), 1, 1, 1, 1)


def joined(batches: Sequence[Batch]) -> Batch:
    """All members of a data-parallel group as one; only its number of tokens means anything."""
    return batches[0] if len(batches) == 1 else Batch((), sum(batch.tokens for batch in batches), 0, 0, 0)

"""How many KV blocks fit beside the weights and what a step works in."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import InputError


@dataclass(frozen=True, slots=True)
class Kept:
    """What the layers of one device keep.

    Attributes:
        token: bytes of each token, in the layers that keep all.
        windows: (bytes of a token, tokens a sequence keeps at most) of layers that let go what no query sees.
        state: bytes of a sequence, in layers with a state instead.
    """

    token: int
    windows: tuple[tuple[int, int], ...] = ()
    state: int = 0

    def sequence(self, block_size: int) -> tuple[int, int]:
        """(bytes, tokens): what a sequence holds beside `token`, once it is so many tokens long.

        A window of w tokens touches w - 1 cached ones, which lie on one block more than they fill (vLLM's
        ``SlidingWindowSpec``).
        """
        held, longest = self.state, block_size if self.state else 0
        for size, most in self.windows:
            blocks = -(-(most - 1) // block_size) + 1
            held += size * blocks * block_size
            longest = max(longest, blocks * block_size)
        return held, longest


def num_blocks(
    where: str,
    model: str,
    memory_bytes: int,
    utilization: float,
    weights: int,
    working: int,
    kept: Kept,
    block_size: int,
    sequences: int = 1,
) -> int:
    """Blocks of ``block_size`` tokens in what weights and working memory leave of one device's share of memory.

    ``weights``, ``working`` and ``kept`` are those of one device. A block holds its tokens in the layers that
    keep all. What windows and states hold is set aside for ``sequences`` that run, or for as many as can be
    that long at once: in vLLM they take it from the same pool when they need it, so with fewer it has more.
    Raises InputError with the sums if the model does not fit.
    """
    budget = int(memory_bytes * utilization)
    left = budget - weights - working
    block = kept.token * block_size
    held, longest = kept.sequence(block_size)
    aside = 0
    if held:
        full = held + -(-longest // block_size) * block
        aside = max(1, min(sequences, left // full)) * held
    blocks = (left - aside) // block
    if blocks < 1:
        gib = 2**30
        beside = f", {held / gib:.2f} GiB for a sequence's windows and states" if held else ""
        raise InputError(
            where,
            "model",
            model,
            f"does not fit: each device needs {weights / gib:.2f} GiB for weights, {working / gib:.2f} GiB to work in"
            f"{beside} and {block / gib:.4f} GiB for a KV block, but has {memory_bytes / gib:.2f} GiB x "
            f"gpu_memory_utilization {utilization} = {budget / gib:.2f} GiB",
        )
    return blocks

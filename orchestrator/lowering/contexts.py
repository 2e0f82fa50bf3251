"""Contexts that are not seen whole, and latent vectors that are unfolded: quantities of attention of some kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..serving.batch import Batch
from .quantity import Operands, Quantity

Context = Literal["context_sum", "context_max", "context_min"]


@dataclass(frozen=True, slots=True)
class SeenContext:
    """What decodes see of their contexts: at most ``most`` tokens, or those of their own chunk of ``most`` + 1.

    A batch knows its contexts by sum, maximum and minimum. Where all are shorter or all longer that says all. Else
    the sum of min(context, most) lies between the chord from minimum to maximum and what equal contexts would give
    (the minimum of two is concave); the middle of both is taken. Within chunks, contexts beyond the first are taken
    to be spread evenly over theirs, and all evenly between minimum and maximum.
    """

    counted: Context
    most: int
    chunk: bool = False

    def of(self, batch: Batch) -> int:
        if self.counted != "context_sum":
            value: int = getattr(batch, self.counted)
            return min(value, self.most)
        low, high, decodes, most = batch.context_min, batch.context_max, batch.decodes, self.most
        if high <= most:
            return batch.context_sum
        if self.chunk:
            share = 1.0 if low > most else (high - most) / (high - low)
            return round(decodes * (share * most / 2 + (1 - share) * (min(low, most) + most) / 2))
        if low >= most:
            return decodes * most
        equal = min(batch.context_sum, decodes * most)
        chord = decodes * low + (batch.context_sum - decodes * low) * (most - low) / (high - low)
        return round((equal + chord) / 2)

    def __str__(self) -> str:
        if self.counted == "context_sum":
            return (
                f"sum of {'contexts within chunks of' if self.chunk else 'min(context,'} {self.most + self.chunk}"
                + ("" if self.chunk else ")")
            )
        return f"min({self.counted}, {self.most})"


@dataclass(frozen=True, slots=True)
class CompressedContext:
    """What decodes see where of every ``ratio`` tokens one vector is kept: the last ``window`` tokens, themselves
    included, and ``most`` of these vectors (0 = all). Sums as in `SeenContext`; ``window`` 0 = the vectors alone."""

    counted: Context
    window: int
    ratio: int
    most: int = 0

    def of(self, batch: Batch) -> int:
        near = SeenContext(self.counted, self.window - 1).of(batch) if self.window else 0
        if not self.ratio:
            return near
        far: int = getattr(batch, self.counted)
        if self.most:
            far = SeenContext(self.counted, self.most * self.ratio).of(batch)
        return near + far // self.ratio

    def __str__(self) -> str:
        near = [f"{SeenContext(self.counted, self.window - 1)}"] if self.window else []
        far = SeenContext(self.counted, self.most * self.ratio) if self.most else self.counted
        return " + ".join([*near, *([f"({far}) / {self.ratio}"] if self.ratio else [])])


@dataclass(frozen=True, slots=True)
class Unfolded:
    """Latent vectors of which keys and values are made: of new tokens, and of prompts' cached ones."""

    def of(self, batch: Batch) -> int:
        return batch.tokens + sum(batch.prompts[1::2])

    def __str__(self) -> str:
        return "tokens + cached tokens of prompts"


UNFOLDED = Operands((Unfolded(),))
STATE = Operands((Quantity("tokens"), Quantity("sequences")))


def compressed(window: int, ratio: int, most: int = 0) -> Operands:
    """Attention over a window and compressed vectors; of prompts the model counts that."""
    contexts: tuple[Context, ...] = ("context_sum", "context_max", "context_min")
    return Operands(
        (Quantity("decodes"), *(CompressedContext(one, window, ratio, most) for one in contexts)), prompts=True
    )


def seen(most: int, chunk: bool = False) -> Operands:
    """Attention whose queries see at most ``most`` tokens, themselves included; of prompts the model counts that."""
    before = most - 1
    return Operands(
        (
            Quantity("decodes"),
            SeenContext("context_sum", before, chunk),
            SeenContext("context_max", before, chunk),
            SeenContext("context_min", before, chunk),
        ),
        prompts=True,
    )

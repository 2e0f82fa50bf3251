"""The numbers that operations take, as data: what of a batch is counted, and how it is cut and scaled.

A quantity is a value: equal quantities are one, its text is its formula, and its fields say how it follows
the batch. A new one is one line: ``Quantity("tokens", per=4096, split=8)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, Protocol

from ..serving.batch import Batch
from .routing import Routing

#: Fields of `Batch` that are one number.
Counted = Literal["tokens", "sequences", "decodes", "context_sum", "context_max", "context_min", "image_tokens"]

EACH_PROMPT = "(new tokens, cached tokens) of each prompt"


@dataclass(frozen=True, slots=True)
class Quantity:
    """``max(least, round(per * ceil(counted / split)))``; a half is rounded to the even number.

    ``split``: ranks that take equal parts, the largest of which counts. ``per``: bytes, say, of one counted.
    """

    counted: Counted
    per: float = 1
    split: int = 1
    least: int = 0

    def of(self, batch: Batch) -> int:
        count: int = getattr(batch, self.counted)
        if self.split != 1:
            count = -(-count // self.split)
        if self.per != 1:
            count = round(count * self.per)
        return count if count >= self.least else self.least

    def __str__(self) -> str:
        """The formula, with `ceil`, `round` and `max` where they do something."""
        if not self.per:
            return str(self.least)
        text: str = self.counted
        if self.split != 1:
            text = f"ceil({text} / {self.split})"
        if self.per != 1:
            text = f"{text} * {_plain(self.per)}"
            text = text if float(self.per).is_integer() else f"round({text})"
        return f"max({self.least}, {text})" if self.least else text


@dataclass(frozen=True, slots=True)
class ExpertsHit:
    """``max(least, round(h))``: h experts of those from ``first`` up to ``end`` are expected to be picked."""

    routing: Routing
    first: int
    end: int
    least: int

    def of(self, batch: Batch) -> int:
        return max(self.least, round(self.routing.hit(self.routing.shares[self.first : self.end], batch.tokens)))

    def __str__(self) -> str:
        return f"max({self.least}, round({self.routing.hit_formula(self.first, self.end, 'tokens')}))"


class Number(Protocol):
    """What a number of an operation is in a batch; its text is its formula."""

    def of(self, batch: Batch) -> int: ...


@dataclass(frozen=True, slots=True)
class Operands:
    """The numbers of an operation, in the order of `OPERATION_VALUES`; ``prompts`` adds a pair for each prompt.

    ``steady``: they stay the same while the same sequences decode, when only contexts grow.
    """

    quantities: tuple[Number, ...]
    prompts: bool = False
    steady: bool = field(init=False, repr=False, compare=False, default=False)
    _fields: Callable[[Batch], tuple[int, ...]] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steady", not self.prompts and all(map(_is_steady, self.quantities)))
        if len(self.quantities) > 1 and all(_is_field(quantity) for quantity in self.quantities):
            object.__setattr__(self, "_fields", attrgetter(*map(str, self.quantities)))

    def of(self, batch: Batch) -> tuple[int, ...]:
        of_all = self._fields
        numbers = of_all(batch) if of_all else tuple([quantity.of(batch) for quantity in self.quantities])
        return numbers + batch.prompts if self.prompts else numbers

    def growth(self, batch: Batch) -> tuple[int, ...] | None:
        """By how much each number grows from a step to the next while all of ``batch`` decode; None where it is not
        always by as much."""
        return tuple([_growth(quantity, batch) for quantity in self.quantities]) if self._fields else None

    @property
    def pairs(self) -> str:
        """What the pairs behind its numbers are; empty if there are none."""
        return EACH_PROMPT if self.prompts else ""

    @property
    def formulas(self) -> tuple[str, ...]:
        return (*map(str, self.quantities), *((self.pairs,) if self.pairs else ()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Operands:
        return self


def _is_steady(number: Number) -> bool:
    return isinstance(number, ExpertsHit) or (isinstance(number, Quantity) and not number.counted.startswith("context"))


def _is_field(number: Number) -> bool:
    """Whether its formula is the name of a field of the batch."""
    return isinstance(number, Quantity) and number == Quantity(number.counted)


def _growth(number: Number, batch: Batch) -> int:
    """Of a field, with every step in which each decode's context is one longer."""
    return {"context_sum": batch.decodes, "context_max": 1, "context_min": 1}.get(str(number), 0)


def _plain(number: float) -> str:
    """Without a fraction that is none."""
    return str(int(number)) if float(number).is_integer() else repr(number)


def one(counted: Counted, per: float = 1, split: int = 1) -> Operands:
    """Of an operation that takes one number."""
    return Operands((Quantity(counted, per, split),))


NONE = Quantity("decodes", per=0)

TOKENS = one("tokens")
SEQUENCES = one("sequences")
ATTENTION = Operands(
    (Quantity("decodes"), Quantity("context_sum"), Quantity("context_max"), Quantity("context_min")), prompts=True
)
PROMPT_ATTENTION = Operands((NONE, NONE, NONE, NONE), prompts=True)


def expert_tokens(routing: Routing, top_k: int, ranks: int = 1) -> Operands:
    """(tokens, experts hit) of the busiest of ``ranks`` devices over which the experts are spread in order.

    A rank computes as many (token, expert) pairs as its experts are picked; stated as tokens that pick
    ``top_k`` each. Rounded, and never fewer than one.
    """
    shares = routing.shares
    local = len(shares) // ranks
    busiest = routing.busiest(ranks)
    load = sum(shares[busiest : busiest + local]) / top_k
    tokens = Quantity("tokens", split=ranks, least=1) if routing.even else Quantity("tokens", per=load, least=1)
    least = min(top_k, local) if ranks == 1 else 1
    return Operands((tokens, ExpertsHit(routing, busiest, busiest + local, least)))

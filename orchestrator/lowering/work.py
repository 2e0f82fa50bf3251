"""The vocabulary of a plan: operations, who does them, which numbers they take, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metronome.hwmodels.interface import Attribute, Template

from ..serving.batch import Batch
from .routing import Routing


class Size:
    """Which numbers of a batch an operation takes; equal sizes have equal names."""

    def __init__(self, name: str, of: Callable[[Batch], tuple[int, ...]]) -> None:
        self.name, self.of = name, of

    def __deepcopy__(self, memo: dict[int, Any]) -> Size:
        return self


TOKENS = Size("tokens", lambda batch: (batch.tokens,))
SEQUENCES = Size("sequences", lambda batch: (batch.sequences,))
ATTENTION = Size(
    "attention",
    lambda batch: (
        batch.decodes,
        batch.context_sum,
        batch.context_max,
        batch.context_min,
        *batch.prompts,
    ),
)


PROMPT_ATTENTION = Size("prompts' attention", lambda batch: (0, 0, 0, 0, *batch.prompts))


def bytes_per_token(size: float, split: int = 1) -> Size:
    """Bytes of all tokens, or of one rank's part where ``split`` ranks take equal parts of the tokens."""
    return Size(f"tokens*{size}/{split}", lambda batch: (round(-(-batch.tokens // split) * size),))


def bytes_per_sequence(size: int) -> Size:
    return Size(f"sequences*{size}", lambda batch: (batch.sequences * size,))


def expert_tokens(routing: Routing, top_k: int, ranks: int = 1) -> Size:
    """(tokens, experts hit) of the busiest of ``ranks`` devices over which the experts are spread in order.

    A rank computes as many (token, expert) pairs as its experts are picked; stated as tokens that pick
    ``top_k`` each. Rounded, and never fewer than one.
    """
    shares = routing.shares
    local = len(shares) // ranks
    parts = [shares[i * local : (i + 1) * local] for i in range(ranks)]
    busiest = max(parts, key=sum)
    load = sum(busiest) / top_k

    def of(batch: Batch) -> tuple[int, ...]:
        tokens = batch.tokens
        least = min(top_k, local) if ranks == 1 else 1
        computed = -(-tokens // ranks) if routing.even else round(tokens * load)
        return max(1, computed), max(least, round(routing.hit(busiest, tokens)))

    return Size(f"moe {routing.name}/{top_k}/{ranks}", of)


@dataclass(frozen=True, slots=True)
class Work:
    """One operation of a step: which component does it, what it is, which numbers it takes.

    ``copies`` devices do it at the same time; only energy counts them. ``user`` says whose turn it is:
    works of one user, or of users of which one's path begins with the other's, never happen at once;
    a user that ends with ``*`` may even overlap itself.
    """

    component: str
    template: Template
    size: Size
    copies: int
    user: str


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """The same operation on every data-parallel member at once, or (``joint``) one of all members together."""

    works: tuple[Work, ...]
    joint: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Operations one after another, ``repeat`` times, on one ``stage`` (which does one step at a time; none
    for transfers between stages). ``layers`` of the model are through after each repetition. ``chain``
    stands for all network operations of all repetitions, for a network that can do that."""

    operations: tuple[PlannedOperation, ...]
    stage: str | None
    repeat: int = 1
    layers: int = 0
    chain: Work | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The operations of one step of one instance. ``lanes`` steps may be in flight."""

    sections: tuple[Section, ...]
    members: int = 1
    lanes: int = 1

    @property
    def works(self) -> list[Work]:
        return [work for section in self.sections for operation in section.operations for work in operation.works]

    @property
    def chains(self) -> list[Work]:
        return [section.chain for section in self.sections if section.chain]


class Templates:
    """Every template of a run, once: instances of one model share theirs, and so their answers."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Template] = {}

    def declare(self, kind: str, layer: str, attributes: Mapping[str, Attribute]) -> Template:
        key = (kind, layer, tuple(sorted(attributes.items())))
        if key not in self._known:
            self._known[key] = Template(len(self._known), kind, layer, dict(attributes))
        return self._known[key]

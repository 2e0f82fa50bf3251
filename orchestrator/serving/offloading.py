"""Keeping K and V off the devices, as engines and those who look on know it; the rest is `interface`'s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ..workload.request import Request
from .interface import KvConnector, StepMoves
from .request_state import RequestState


@dataclass(frozen=True, slots=True)
class TierCopy:
    """A copy of K and V between an engine's devices and a pool off them, as it begins or as it has ended.

    Attributes:
        tier, pool: the tier by its name in the scenario, and which of its pools.
        engine: whose devices.
        request: for which it is recalled, or by which it was computed; -1 where that is not known.
        tokens, bytes: how much of it, over all layers and ranks; of a part of the layers that part of the bytes.
        recall: from the pool to the devices; else the other way.
        used: chunks that have a place in the pool now.
        began_ps, ended_ps: -1 where it has not ended.
    """

    tier: str
    pool: str
    engine: str
    request: int
    tokens: int
    bytes: int
    recall: bool
    used: int
    began_ps: int
    ended_ps: int = -1


@runtime_checkable
class RecallingConnector(KvConnector, Protocol):
    """A connector that keeps K and V off the device and brings them back: what vLLM calls an offloading connector.

    An engine that can takes one as its ``connector`` and tells it what it computes and lets go.

    Attributes:
        asynchronous: a request waits for its K and V while others are computed; else the step that computes it waits.
        watches_evictions: it is to be told of blocks that the device lets go.
        keeps_computed: it is to be told of blocks that steps compute.
    """

    asynchronous: bool
    watches_evictions: bool
    keeps_computed: bool

    def matched(self, state: RequestState, tokens: int) -> int | None:
        """Tokens beyond the ``tokens`` on the device whose K and V it has; None: it is to be asked again later."""
        ...

    def recall(self, state: RequestState, tokens: int, more: int) -> None:
        """The engine has blocks for those ``more`` tokens: bring them. `Engine.finished_recving` tells when they are
        there, if it is asynchronous."""
        ...

    def computed(self, state: RequestState, tokens: int) -> bool:
        """With the step being put together K and V of its first ``tokens`` tokens are on the device. False: it is to be
        told again with the next step that computes it."""
        ...

    def evicted(self, name: bytes) -> None:
        """The device has let the last block of that name go, for the step being put together."""
        ...

    def preempted(self, state: RequestState) -> None:
        """Its blocks are not its own any more."""
        ...

    def stopped(self) -> None:
        """The engine has lost all it had, and will start anew."""
        ...

    def ended(self, state: RequestState) -> bool:
        """Its last token is out. True if its blocks must stay until `Engine.finished_sending`."""
        ...

    def step_ended(self) -> None:
        """A step's tokens are out, and those who ended with it have been told; or there is nothing to compute."""
        ...

    def moves(self) -> StepMoves | None:
        """What moves for the step that has just been put together."""
        ...

    def cached_tokens(self, request: Request) -> int:
        """Tokens at the beginning of its prompt that it has."""
        ...

"""Copies between one replica's devices and its pools: begun, told of and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from ..hooks import ServingHooks
from ..interface import KvTransfer
from ..offloading import TierCopy
from .pool import Chunk, TierPool


class Timer(Protocol):
    """Knows the time, in picoseconds, and calls back at another."""

    @property
    def now_ps(self) -> int: ...

    def later(self, when_ps: int, act: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Load:
    """``tokens`` tokens of a request come from a tier's pool, from these of its chunks, which are being read."""

    request: int
    tier: str
    pool: TierPool
    chunks: list[Chunk]
    tokens: int


@dataclass(frozen=True, slots=True)
class Store:
    """``tokens`` tokens go to a tier's pool; ``done`` when they are there."""

    request: int
    tier: str
    pool: TierPool
    tokens: int
    done: Callable[[], None]


class Copier:
    """Of the replica of that name; a chunk has ``chunk_tokens`` tokens in ``layers`` layers."""

    def __init__(
        self, replica: str, transfer: KvTransfer, timer: Timer, hooks: ServingHooks, chunk_tokens: int, layers: int
    ) -> None:
        self.timer = timer
        self._replica, self._transfer, self._hooks = replica, transfer, hooks
        self._chunk_tokens, self._layers = chunk_tokens, layers

    def recall(self, load: Load, layers: range | None, done: Callable[[], None]) -> None:
        """To the devices, of all layers or of some."""
        part = 1.0 if layers is None else len(layers) / self._layers
        copy = self._begin(load, True, part)
        self._transfer.move(load.pool.name, self._replica, load.tokens, layers, partial(self._end, load, copy, done))

    def found(self, tier: str, pool: TierPool, names: Sequence[bytes]) -> list[Chunk]:
        """Of a pool these are to be recalled: as `TierPool.read`."""
        self._hooks.tier_hit(tier, len(names), self.timer.now_ps)
        return pool.read(names)

    def waited(self, move: Load | Store, took_ps: int) -> None:
        """A request, or a step, has waited so long for it, up to now."""
        move.pool.counts.stall_ps += took_ps
        self._hooks.tier_waited(move.tier, took_ps, self.timer.now_ps)

    def store(self, store: Store, done: Callable[[], None]) -> None:
        """To the pool."""
        copy = self._begin(store, False, 1.0)
        self._transfer.move(self._replica, store.pool.name, store.tokens, None, partial(self._end, store, copy, done))

    def _begin(self, move: Load | Store, recall: bool, part: float) -> TierCopy:
        pool, now = move.pool, self.timer.now_ps
        size = round(move.tokens * pool.chunk_bytes * part / self._chunk_tokens)
        copy = TierCopy(move.tier, pool.name, self._replica, move.request, move.tokens, size, recall, pool.used, now)
        self._hooks.tier_copy_began(copy)
        return copy

    def _end(self, move: Load | Store, copy: TierCopy, done: Callable[[], None]) -> None:
        counts = move.pool.counts
        if copy.recall:
            counts.bytes_out += copy.bytes
        else:
            counts.bytes_in += copy.bytes
        if self._hooks.tier_copy_ended.listeners:
            self._hooks.tier_copy_ended(replace(copy, used=move.pool.used, ended_ps=self.timer.now_ps))
        done()

"""K and V that move for one step: as `interface.StepMoves`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from .copier import Copier, Load, Store


@dataclass(slots=True)
class Moves:
    """Of a step of the replica of that name.

    ``loads`` are there before it computes: whole, or with ``by_layer`` each of the model's ``layers`` before its own
    turn. ``backs``, and ``flushes`` of the preempted, are out of their blocks before it computes. ``stores`` begin when
    it has ended.
    """

    copier: Copier
    by_layer: bool
    layers: int
    loads: list[Load] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    backs: list[Store] = field(default_factory=list)
    flushes: int = 0  # copies of the preempted that are not done
    over: bool = False  # its step has ended, or never will
    _begun: bool = False
    _before: int = 0  # of what it waits for before it begins
    _within: int = 0  # layers of recalls that are on their way while it computes
    _last_ps: int = -1  # when the last of these came
    _asked_ps: int = 0
    _began_ps: int = 0
    _ended_ps: int = 0
    _run: Callable[[], None] | None = None
    _done: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        return bool(self.loads or self.stores or self.backs or self.flushes)

    @property
    def waits(self) -> bool:
        return bool(self.loads or self.backs or self.flushes)

    def begin(self, run: Callable[[], None]) -> None:
        self._run, self._asked_ps, self._begun = run, self.copier.timer.now_ps, True
        self._before = 1 + self.flushes
        for back in self.backs:
            self._before += 1
            self.copier.store(back, partial(self._backed, back))
        for load in self.loads:
            self._before += 1
            first = range(1) if self.by_layer and self.layers > 1 else None
            self.copier.recall(load, first, partial(self._loaded, load, first))
        self._one_there()

    def flushed(self) -> None:
        """The copies of one that was preempted are done."""
        if self._run is None:
            self.flushes -= 1  # before the step begins
        else:
            self._one_there()

    def _backed(self, back: Store) -> None:
        back.done()
        self._one_there()

    def _loaded(self, load: Load, first: range | None) -> None:
        if first is None:
            load.pool.done_reading(load.chunks)
        else:
            self._within += 1
            rest = range(1, self.layers)
            self.copier.recall(load, rest, partial(self._rest_there, load))
        self._one_there()

    def _one_there(self) -> None:
        self._before -= 1
        if self._before == 0 and self._run is not None:
            run, self._run = self._run, None
            self._began_ps = self.copier.timer.now_ps
            self._stalled(self._began_ps - self._asked_ps)
            run()

    def _stalled(self, took_ps: int) -> None:
        """The step has waited: that is the first of the pools' it waited for."""
        waited: list[Load | Store] = [*self.loads, *self.backs]
        if waited:
            self.copier.waited(waited[0], took_ps)

    def _rest_there(self, load: Load) -> None:
        load.pool.done_reading(load.chunks)
        self._within -= 1
        self._last_ps = self.copier.timer.now_ps
        if not self._within and self._done is not None:
            done, self._done = self._done, None
            done()

    def end(self, done: Callable[[int], None], energy_pj: int) -> None:
        self._ended_ps = self.copier.timer.now_ps
        compute_ps = self._ended_ps - self._began_ps
        finish = partial(self._finish, partial(done, energy_pj), compute_ps // self.layers)
        if self._within:
            self._done = finish
        else:
            finish()

    def _finish(self, done: Callable[[], None], layer_ps: int) -> None:
        """The last layer is computed when its K and V are there."""
        due = self._last_ps + layer_ps if self._last_ps >= 0 else 0
        self._stalled(max(due, self.copier.timer.now_ps) - self._ended_ps)
        if due > self.copier.timer.now_ps:
            self.copier.timer.later(due, done)
        else:
            done()

    def computed(self) -> None:
        self.over = True
        for store in self.stores:
            self.copier.store(store, store.done)

    def drop(self) -> None:
        """Its engine is no more: what has begun to move runs out, and nothing else begins."""
        self.over = True
        stores, self.stores = self.stores, []
        if not self._begun:
            for load in self.loads:
                load.pool.done_reading(load.chunks)
            stores += self.backs
            self.loads, self.backs = [], []
        for store in stores:
            store.done()

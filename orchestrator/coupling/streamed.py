"""Steps whose weights come from off the device: the memory's bytes and the device's work side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..kernel.loop import Kernel
from ..kernel.queue import Priority
from ..lowering.expert_cache import ExpertCache
from ..lowering.work import Work
from ..serving.batch import Batch, joined
from .hooks import CouplingHooks
from .ports import Ports

LayerDone = Callable[[int], None]


class Runner(Protocol):
    """What computes a step whose weights are there: the executor."""

    rank: int

    def run(
        self,
        number: int,
        batches: Sequence[Batch],
        done: Callable[[int], None],
        layer_done: LayerDone | None = None,
        upcoming: Batch | None = None,
    ) -> None: ...


class Stream(Protocol):
    """What comes from off the devices in a step, and how the step overlaps with it."""

    @property
    def work(self) -> Work: ...

    @property
    def ahead(self) -> int:
        """Layers that are fetched before their turn."""
        ...

    @property
    def head(self) -> int:
        """Bytes that are there before a step begins."""
        ...

    @property
    def alone(self) -> float:
        """Share of the computing that overlaps with none of the bytes: what is left when the last of them is there."""
        ...

    def bytes(self, tokens: int) -> int:
        """To each device, in a step of so many tokens."""
        ...


@dataclass(frozen=True, slots=True)
class LayerStream:
    """``size`` bytes to each device a step, those of ``off`` of the model's ``layers``; of one layer ``layer`` bytes.

    ``ahead`` layers are fetched before their turn. With 0 kernels read in place: only layers that lie off the device
    overlap with their own bytes. With more, a layer's bytes move while others are computed; the first of a model that
    lies off the device whole are waited for, and with two or more they come while the step before ends.
    """

    work: Work
    size: int
    layer: int
    layers: int
    off: float
    ahead: int

    @property
    def head(self) -> int:
        """Bytes that are there before a step begins."""
        return min(self.layer, self.size) if self.ahead and self.off >= self.layers else 0

    def bytes(self, tokens: int) -> int:
        return self.size

    @property
    def alone(self) -> float:
        """Share of the computing that overlaps with none of the bytes: what is left when the last of them is there."""
        return 1 / self.layers if self.ahead else 1 - min(self.off, self.layers) / self.layers


@dataclass(frozen=True, slots=True)
class ExpertStream:
    """Experts that a batch picks and the device has not, ``expert`` bytes each over all layers.

    Which they are is known in their layer, when the router has chosen: nothing is computed meanwhile.
    """

    work: Work
    cache: ExpertCache
    expert: float

    ahead, head, alone = 0, 0, 1.0

    def bytes(self, tokens: int) -> int:
        return round(self.cache.missed(tokens) * self.expert)

    def hit_rate(self, steps: Mapping[int, int]) -> float:
        """Of the experts that steps picked, by their tokens how many steps, the share that was there."""
        picked = math.fsum(count * self.cache.picked(tokens) for tokens, count in steps.items())
        missed = math.fsum(count * self.cache.missed(tokens) for tokens, count in steps.items())
        return 1 - missed / picked if picked else 0.0


@dataclass(slots=True)
class _Step:
    number: int
    done: Callable[[int], None]
    run: Callable[[Callable[[int], None]], None]
    tokens: int
    asked_ps: int
    began_ps: int = 0
    there_ps: int = -1  # the last byte
    computed_ps: int = -1
    energy_pj: int = 0


class StreamedRunner:
    """As `serving.loop.StepRunner`, of an instance whose steps follow one another."""

    def __init__(
        self, runner: Runner, stream: Stream, ports: Ports, kernel: Kernel, hooks: CouplingHooks, name: str
    ) -> None:
        self._runner, self.stream, self._ports, self._kernel = runner, stream, ports, kernel
        self._hooks, self._name, self.rank = hooks, name, runner.rank
        self._head = "no" if stream.head else "there"  # whether a step's first layer is: no, coming, there
        self._waiting: _Step | None = None
        self.bytes = 0
        self.tokens: dict[int, int] = {}  # how many steps had so many

    def figures(self) -> dict[str, float]:
        """What came, for the results; of experts also how many were there."""
        rate = {"expert_hit_rate": self.stream.hit_rate(self.tokens)} if isinstance(self.stream, ExpertStream) else {}
        return {"bytes": self.bytes, **rate}

    def ahead(self, first: Sequence[Batch], growing: Sequence[bool], count: int) -> None:
        """What steps take hangs on who else moves bytes."""

    def run(
        self,
        number: int,
        batches: Sequence[Batch],
        done: Callable[[int], None],
        layer_done: LayerDone | None = None,
        upcoming: Batch | None = None,
    ) -> None:
        now = self._kernel.now_ps
        compute = partial(self._compute, number, batches, layer_done, upcoming)
        step = _Step(number, done, compute, joined(batches).tokens, now)
        if self._head == "there":
            self._begin(step)
            return
        self._waiting = step
        if self._head == "no":
            self._fetch_head()

    def _compute(
        self,
        number: int,
        batches: Sequence[Batch],
        layer_done: LayerDone | None,
        upcoming: Batch | None,
        done: Callable[[int], None],
    ) -> None:
        self._runner.run(number, batches, done, layer_done, upcoming)

    def _fetch_head(self) -> None:
        self._head = "coming"
        self._move(self.stream.head, self._head_there)

    def _move(self, size: int, done: Callable[[int], None]) -> None:
        self.bytes += size * (self.stream.work.copies // 2)
        now, work = self._kernel.now_ps, self.stream.work
        self._hooks.weights_began(self._name, work, size, now)
        self._ports.start(work, (size,), partial(self._moved, size, now, done))

    def _moved(self, size: int, since_ps: int, done: Callable[[int], None], energy_pj: int) -> None:
        self._hooks.weights_ended(self._name, self.stream.work, size, since_ps, self._kernel.now_ps)
        done(energy_pj)

    def _head_there(self, energy_pj: int) -> None:
        self._head = "there"
        if self._waiting is not None:
            step, self._waiting = self._waiting, None
            step.energy_pj += energy_pj
            self._begin(step)

    def _begin(self, step: _Step) -> None:
        step.began_ps = self._kernel.now_ps
        self._told(step, step.asked_ps)
        if self.stream.head:
            self._head = "no"
        self.tokens[step.tokens] = self.tokens.get(step.tokens, 0) + 1
        rest = self.stream.bytes(step.tokens) - self.stream.head
        if rest > 0:
            self._move(rest, partial(self._rest_there, step))
        else:
            step.there_ps = step.began_ps
        step.run(partial(self._computed, step))

    def _rest_there(self, step: _Step, energy_pj: int) -> None:
        step.there_ps = self._kernel.now_ps
        step.energy_pj += energy_pj
        if self.stream.ahead > 1 and self._head == "no":
            self._fetch_head()
        if step.computed_ps >= 0:
            self._finish(step)

    def _computed(self, step: _Step, energy_pj: int) -> None:
        step.computed_ps = self._kernel.now_ps
        step.energy_pj += energy_pj
        if step.there_ps >= 0:
            self._finish(step)

    def _finish(self, step: _Step) -> None:
        """What overlaps with no bytes comes after the last of them."""
        left = round((step.computed_ps - step.began_ps) * self.stream.alone)
        due = max(self._kernel.now_ps, step.there_ps + left)
        if due > self._kernel.now_ps:
            ended = partial(self._end, step)
            self._kernel.at(due, Priority.COMPLETION, self.rank, "weights", step.number, ended)
        else:
            self._end(step)

    def _end(self, step: _Step) -> None:
        self._told(step, step.computed_ps)
        step.done(step.energy_pj)

    def _told(self, step: _Step, since_ps: int) -> None:
        """Between then and now it has waited for bytes."""
        took, work = self._kernel.now_ps - since_ps, self.stream.work
        if took > 0 and self._hooks.operations.listeners:
            self._hooks.operations(self._name, step.number, 0, work.component, [work], since_ps, took)

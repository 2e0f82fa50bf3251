"""``systolic``: a systolic array by the closed form of its folds, stall-free, and a vector unit beside it.

The cycles of a GEMM are those that SCALE-Sim 3.0.0 prints in its stall-free mode (Samajdar et al., "A
systematic methodology for characterizing scalability of DNN accelerators using SCALE-Sim", ISPASS
2020); the tool is the oracle of this formula in the tests of `metronome.adapters.scalesim`. It knows no memory
bandwidth: operands are always there in time.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from math import ceil
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import Field

from ..base import Config, Estimate, OracleModel
from ..interface import ConfigError, Description, Provenance, Template, TimePolicy

PS_PER_CYCLE_AT_1_MHZ = 10**6


class Gemm(NamedTuple):
    """(m x k) times (k x n)."""

    m: int
    n: int
    k: int


class Tile(NamedTuple):
    """A GEMM that fills the array once, and how many of them a larger one takes, one after another."""

    gemm: Gemm
    folds: int


class SystolicConfig(Config):
    """An array of multiply-accumulate cells and a vector unit."""

    rows: int = Field(default=128, gt=0)
    columns: int = Field(default=128, gt=0)
    dataflow: Literal["ws", "os", "is"] = Field(
        default="ws", description="what stays in the cells: weights, outputs or inputs"
    )
    clock_mhz: float = Field(default=1000, gt=0)
    vector_lanes: int = Field(
        default=1024,
        gt=0,
        description="elements a cycle of norms, activations, sampling; 8 x 128 as in Norrie et al., IEEE Micro 2021",
    )


A = TypeVar("A", bound=SystolicConfig)


class Array(OracleModel[A]):
    """How operations become GEMMs on one array, each waiting for the one before it.

    Masking saves nothing: the scores of a prompt are computed whole.
    """

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        self._cycle_ps = PS_PER_CYCLE_AT_1_MHZ / self.config.clock_mhz

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        if template.kind in ("gemm", "attention", "moe"):
            cycles = math.fsum(times * self.cycles(gemm) for times, gemm in self.gemms(template, values))
        else:
            cycles = ceil(values[0] * int(template.attributes["width"]) / self.config.vector_lanes)
        return Estimate(max(1, round(cycles * self._cycle_ps)), Provenance.MODELLED)

    def cycles(self, gemm: Gemm) -> int:
        """Folds one after another; the last cycle of one is the first of the next."""
        tile, folds = self.tile(gemm)
        return folds * (self.tile_cycles(tile) + 1) - 1

    @abstractmethod
    def tile_cycles(self, tile: Gemm) -> int:
        """Cycles of one tile alone."""

    def tile(self, gemm: Gemm) -> Tile:
        """Two dimensions lie on the array and are cut to its size; the third streams through it whole."""
        rows, columns = self.config.rows, self.config.columns
        m, n, k = gemm
        if self.config.dataflow == "ws":
            return Tile(Gemm(m, min(n, columns), min(k, rows)), ceil(k / rows) * ceil(n / columns))
        if self.config.dataflow == "os":
            return Tile(Gemm(min(m, rows), min(n, columns), k), ceil(m / rows) * ceil(n / columns))
        return Tile(Gemm(min(m, columns), n, min(k, rows)), ceil(k / rows) * ceil(m / columns))

    def gemms(self, template: Template, values: tuple[int, ...]) -> Iterator[tuple[float, Gemm]]:
        """The GEMMs of an operation and how often each is done."""
        at = template.attributes
        if template.kind == "gemm":
            yield 1, Gemm(values[0], int(at["n"]), int(at["k"]))
        elif template.kind == "moe":
            tokens, active = values
            hidden, inter, top_k = int(at["hidden"]), int(at["intermediate"]), int(at["top_k"])
            yield 1, Gemm(tokens, int(at["experts"]), hidden)
            if active:
                rows = ceil(tokens * top_k / active)
                yield active, Gemm(rows, 2 * inter, hidden)  # gate and up
                yield active, Gemm(rows, hidden, inter)
        else:
            yield from self._attention(template, values)

    def _attention(self, template: Template, values: tuple[int, ...]) -> Iterator[tuple[float, Gemm]]:
        """Scores, then the weighted sum of V, for each KV head; its query heads share K and V, so they are rows."""
        kv_heads = int(template.attributes["kv_heads"])
        group = int(template.attributes["heads"]) // kv_heads
        decodes, total, longest, shortest = values[:4]
        if decodes:
            yield from self._sequences(template, decodes * kv_heads, group, total / decodes + 1, longest == shortest)
        for new, cached in zip(values[4::2], values[5::2], strict=True):
            yield from self._sequences(template, kv_heads, new * group, new + cached, True)

    def _sequences(
        self, template: Template, times: int, rows: int, context: float, equal: bool
    ) -> Iterator[tuple[float, Gemm]]:
        """Contexts that differ leave their last fold half full in the mean; equal ones all leave the same."""
        size = int(template.attributes["head_size"])
        score = None if self.config.dataflow == "is" else self.config.columns  # n lies on the array, or streams
        value = None if self.config.dataflow == "os" else self.config.rows  # k likewise
        for share, n in _contexts(context, None if equal else score):
            yield times * share, Gemm(rows, n, size)
        for share, k in _contexts(context, None if equal else value):
            yield times * share, Gemm(rows, size, k)


class DrawingConfig(SystolicConfig):
    """What the device draws, where that is known."""

    idle_w: float | None = Field(default=None, ge=0, description="with nothing to do; goes with active_w")
    active_w: float | None = Field(default=None, ge=0, description="while it computes; goes with idle_w")


class Systolic(Array[DrawingConfig]):
    """The closed form."""

    description = Description(
        name="systolic",
        kind="accelerator",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"gemm", "attention", "moe", "norm", "elementwise", "embedding", "sampler"}),
        summary="a systolic array, stall-free: the closed form of SCALE-Sim's cycles",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        idle, active = self.config.idle_w, self.config.active_w
        if (idle is None) != (active is None):
            raise ConfigError("active_w", active, "idle_w and active_w are given together")
        self._busy_w = None if idle is None or active is None else active - idle
        if self._busy_w is not None and self._busy_w < 0:
            raise ConfigError("active_w", active, f"is below what it draws with nothing to do, {idle:g}")

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        found = super().estimate(template, values)
        energy_pj = None if self._busy_w is None else round(self._busy_w * found.duration_ps)  # W x ps = pJ
        return found._replace(energy_pj=energy_pj)

    def tile_cycles(self, tile: Gemm) -> int:
        """Fill the array, stream what moves, drain."""
        rows, columns = self.config.rows, self.config.columns
        if self.config.dataflow == "os":
            return tile.k + rows + columns - 3
        return 2 * rows + columns + (tile.m if self.config.dataflow == "ws" else tile.n) - 3


def _contexts(mean: float, width: int | None) -> list[tuple[float, int]]:
    """Contexts that stand for many of this mean, with the share of each. ``width``: what a fold of it holds."""
    if width is None:
        return [(1.0, max(1, round(mean)))]
    folds = max(1.0, mean / width + (width - 1) / (2 * width))
    low = int(folds)
    return [(low + 1 - folds, low * width), (folds - low, (low + 1) * width)]

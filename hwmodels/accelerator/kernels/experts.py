"""Experts: two grouped products, each expert's tokens in tiles of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...catalog.families import Experts
from .gemm import STEP, together
from .processor import Processor

#: Rows and columns of a tile; of those that are tuned for a shape, the quickest is taken to be chosen.
TILES = ((16, 64), (16, 128), (32, 128), (64, 64), (64, 128), (128, 128))
#: vLLM's before 0.16 or so where it has no tuned configuration (`get_default_config` of its fused_moe.py): up to as
#: many tokens as the rank has experts, and beyond.
FEW, MANY = ((16, 32),), ((64, 64),)


@dataclass(frozen=True, slots=True)
class Routed:
    """Where tokens go.

    Attributes:
        pairs: (token, expert) pairs of this rank. active: its experts that get any. experts: all of its experts.
        tokens: at hand, those without an expert of this rank included. every: pairs of these, other ranks' included.
    """

    pairs: float
    active: float
    experts: int
    tokens: float
    every: float


@dataclass(frozen=True, slots=True)
class Expert:
    """One expert: sizes in elements, ``matrices`` 3 with a gate, else 2; bytes of a number of the input, the weight,
    the output."""

    hidden: int
    inter: int
    matrices: int = 3
    dtype: str = "bf16"
    widths: tuple[float, float, float] = (2, 2, 2)

    @property
    def weights(self) -> float:
        """Bytes."""
        return self.matrices * self.hidden * self.inter * self.widths[1]


def seconds(on: Processor, by: Experts, to: Routed, expert: Expert, cached: bool = False) -> float:
    """Time of all that is between the choice of experts and their sum. ``cached``: as of a GEMM."""
    tiles = _tiles(by, to, expert.inter)
    hidden, inter = expert.hidden, expert.inter
    up = _grouped(on, by, to, expert, (expert.matrices - 1) * inter, hidden, tiles, cached)
    down = _grouped(on, by, to, expert, hidden, inter, tiles, cached)
    passed = (to.every if by.every_pair else to.pairs) * 2 * (expert.matrices * inter + hidden) * expert.widths[2]
    in_cache = passed <= on.cache_bytes
    rate = on.cache(by.cache_flops, on.multiprocessors) if in_cache else on.bandwidth * by.memory_efficiency
    return by.start_ns * 1e-9 + up + down + passed / rate


def _tiles(by: Experts, to: Routed, inter: int) -> tuple[tuple[int, int], ...]:
    if by.tuned is None or inter in by.tuned.get(to.experts, ()):
        return tuple(tile for tile in TILES if tile[0] <= by.most_rows)
    return FEW if to.tokens <= to.experts else MANY


def _grouped(
    on: Processor,
    by: Experts,
    to: Routed,
    expert: Expert,
    n: int,
    k: int,
    tiles: tuple[tuple[int, int], ...],
    cached: bool,
) -> float:
    """Of each expert's tokens (m x k) by its (k x n)."""
    weight, inner = to.active * n * k * expert.widths[1], math.ceil(k / STEP) * STEP
    flops, operands = on.flops_each(expert.dtype) * by.efficiency, on.moved_each(by.operand_flops)
    best = math.inf
    for rows, columns in tiles:
        # Each expert's last tile is half full on average, and one that is picked has at least one.
        high = to.pairs / rows + to.active / 2 if to.pairs > to.active else to.pairs
        count = max(to.active, high) * math.ceil(n / columns)
        turns, busy = max(1.0, count / on.multiprocessors), min(count, on.multiprocessors)
        products = turns * 2.0 * rows * columns * inner / flops
        fetched = turns * (rows * expert.widths[0] + columns * expert.widths[1]) * inner / operands
        rate = on.cache(by.cache_flops, busy) if cached else on.memory(by.memory_efficiency, busy)
        over = turns * by.tile_cycles * math.sqrt(rows * columns / 128**2) / on.clock
        best = min(best, together(by.sharpness, products, fetched, weight / rate) + over)
    return best

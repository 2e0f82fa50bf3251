"""Experts: two grouped products, each expert's tokens in tiles of their own."""

from __future__ import annotations

import math

from ...catalog.families import Experts
from .gemm import STEP, together
from .processor import Processor

TILES = ((16, 64), (16, 128), (32, 128), (64, 64), (64, 128), (128, 128))
#: Those of vLLM before 0.16 or so where it has no tuned configuration: up to as many tokens as experts, and beyond.
FEW, MANY = ((16, 32),), ((64, 64),)


def seconds(
    on: Processor,
    by: Experts,
    routed: float,
    active: float,
    hidden: int,
    inter: int,
    matrices: int = 3,
    dtype: str = "bf16",
    widths: tuple[float, float, float] = (2, 2, 2),
    cached: bool = False,
    pairs: float | None = None,
    tokens: float = 0,
    experts: int = 0,
) -> float:
    """Time of ``routed`` (token, expert) pairs over ``active`` experts.

    Args:
        matrices: 3 with a gate, else 2.
        widths: bytes of a number of the input, the weight, the output. cached: as of a GEMM.
        pairs: those of all tokens at hand, other ranks' experts included (default: ``routed``).
    """
    quickest = by.tuned is None or inter in by.tuned.get(experts, ())
    tiles = TILES if quickest else FEW if tokens <= experts else MANY
    up = _grouped(on, by, routed, active, (matrices - 1) * inter, hidden, dtype, widths, cached, tiles)
    down = _grouped(on, by, routed, active, hidden, inter, dtype, widths, cached, tiles)
    between = (pairs if pairs and by.every_pair else routed) * 2 * (matrices * inter + hidden) * widths[2]
    in_cache = between <= on.cache_bytes
    rate = on.cache(by.cache_flops, on.multiprocessors) if in_cache else on.bandwidth * by.memory_efficiency
    return by.start_ns * 1e-9 + up + down + between / rate


def _grouped(
    on: Processor,
    by: Experts,
    routed: float,
    active: float,
    n: int,
    k: int,
    dtype: str,
    widths: tuple[float, float, float],
    cached: bool,
    tiles_: tuple[tuple[int, int], ...],
) -> float:
    weight, inner = active * n * k * widths[1], math.ceil(k / STEP) * STEP
    flops, operands = on.flops_each(dtype) * by.efficiency, on.moved_each(by.operand_flops)
    best = math.inf
    for rows, columns in tiles_:
        if rows > by.most_rows:
            continue
        # Each expert's last tile is half full on average, and one that is picked has at least one.
        tiles = max(active, routed / rows + active / 2 if routed > active else routed) * math.ceil(n / columns)
        turns, busy = max(1.0, tiles / on.multiprocessors), min(tiles, on.multiprocessors)
        products = turns * 2.0 * rows * columns * inner / flops
        fetched = turns * (rows * widths[0] + columns * widths[1]) * inner / operands
        rate = on.cache(by.cache_flops, busy) if cached else on.memory(by.memory_efficiency, busy)
        over = turns * by.tile_cycles * math.sqrt(rows * columns / 128**2) / on.clock
        best = min(best, together(by.sharpness, products, fetched, weight / rate) + over)
    return best

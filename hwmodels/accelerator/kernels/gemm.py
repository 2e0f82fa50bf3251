"""Matrix products: the library's choice among tiles and splits of the inner dimension is the quickest of them.

A product of m x n outputs is cut into tiles; each multiprocessor does one after another, so the last turn may leave
most of them idle (wave quantisation). A tile takes its products' time or its operands', whichever is longer: large
tiles compute more a byte. Where there are fewer tiles than multiprocessors the inner dimension is split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from ...catalog.families import Gemm
from .processor import Processor

#: Rows and columns of an output tile, as cuBLAS and CUTLASS have them.
TILES = (
    (16, 64),
    (16, 128),
    (32, 64),
    (32, 128),
    (64, 32),
    (64, 64),
    (64, 128),
    (128, 64),
    (128, 128),
    (128, 256),
    (256, 128),
)
SPLITS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32)
#: Inner elements of one step of a tile, and the fewest of a part of a split.
STEP, LEAST_PART = 32, 128
#: Turns of all multiprocessors beyond which nothing is split.
MOST_TURNS = 3


def seconds(
    on: Processor,
    by: Gemm,
    m: int,
    n: int,
    k: int,
    dtype: str = "bf16",
    widths: tuple[float, float, float] = (2, 2, 2),
    cached: bool = False,
) -> float:
    """Time of (m x k) by (k x n).

    Args:
        widths: bytes of a number of the input, the weight, the output.
        cached: the weight is in the L2 cache. It is in measurements that repeat a small product, not in a model, where
            other layers' weights come between.
    """
    weight, rest = n * k * widths[1], m * k * widths[0] + m * n * widths[2]
    if rest + weight <= on.cache_bytes:
        rest *= by.in_cache
    flops, operands = on.flops_each(dtype) * by.efficiency, on.moved_each(by.operand_flops)
    cold, warm = (rest, weight) if cached else (rest + weight, 0.0)
    summed = m * n * 8 / on.cache(by.cache_flops, on.multiprocessors)
    best = math.inf
    for rows, columns, inner, turns, busy, split in _choices(on.multiprocessors, m, n, k):
        products = turns * 2.0 * rows * columns * inner / flops
        fetched = turns * (rows * widths[0] + columns * widths[1]) * inner / operands
        over = turns * by.tile_cycles * math.sqrt(rows * columns) / 128 / on.clock
        if split > 1:
            over += by.split_cycles / on.clock + split * summed
        if max(products, fetched) + over >= best:
            continue
        moved = cold / on.memory(by.memory_efficiency, busy)
        if warm:
            moved += warm / on.cache(by.cache_flops, busy)
        best = min(best, together(by.sharpness, products, fetched, moved) + over)
    return best + by.start_cycles / on.clock


def together(sharpness: float, *parts: float) -> float:
    """Parts that overlap: the longest of them, or more where several are as long."""
    longest = max(parts)
    if not longest:
        return 0.0
    total = 0.0
    for part in parts:
        total += (part / longest) ** sharpness
    return longest * float(total ** (1 / sharpness))


def _choices(multiprocessors: int, m: int, n: int, k: int) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Rows, columns and inner elements of a tile, turns, multiprocessors at work, and parts of the inner dimension."""
    smallest, most = TILES[0][0], MOST_TURNS * multiprocessors
    for rows, columns, across, parts in _cut(n, k):
        if rows >= 2 * m and rows > smallest:
            continue  # half of it would be empty, and there are smaller ones
        whole = -(-m // rows) * across
        for split, inner in parts:
            tiles = whole * split
            if split > 1 and tiles > most:
                break
            busy = tiles if tiles < multiprocessors else multiprocessors
            yield rows, columns, inner, -(-tiles // multiprocessors), busy, split


@lru_cache(maxsize=1024)
def _cut(n: int, k: int) -> list[tuple[int, int, int, list[tuple[int, int]]]]:
    """Rows and columns of every tile, how many of them lie side by side, and the splits there may be: parts, and the
    inner elements of each."""
    parts = [(split, math.ceil(k / split / STEP) * STEP) for split in SPLITS if split == 1 or k >= split * LEAST_PART]
    return [(rows, columns, math.ceil(n / columns), parts) for rows, columns in TILES]

"""Attention as FlashAttention does it: a thread block a tile of queries, passing over the keys it sees.

Prompts: all blocks share the multiprocessors, and none ends before its own keys are passed. Decodes: the query heads of
a key head share a tile; with too few of them for the device, keys are split and the parts combined by another kernel.
FlashAttention 2 (``balances`` false) splits only decodes, and only where query heads share a key head. FlashAttention 3
splits prompts' keys too, and in a CUDA graph vLLM has it combine parts even where there is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...catalog.families import Attention
from .processor import Processor

#: Head size of the tiles in the catalog; the columns follow the head size.
HEAD_SIZE = 128
#: Keys are split into as many parts as fill so many blocks a multiprocessor, if the blocks are fewer than this share of
#: those (FlashAttention's `num_splits_heuristic`).
SPLIT_SLOTS, ENOUGH = 2, 0.8


@dataclass(frozen=True, slots=True)
class Shape:
    """Heads of one layer, in elements; ``dtype`` is the one products are computed in."""

    heads: int
    kv_heads: int
    size: int
    v_size: int
    dtype: str = "bf16"

    @property
    def pair(self) -> float:
        """FLOPs of a (query, key) pair."""
        return 2.0 * (self.size + self.v_size)


def prefill(
    on: Processor, by: Attention, shape: Shape, prompts: list[tuple[int, float, int]], moved: float, written: float
) -> float:
    """Time of prompts' queries; start included.

    Args:
        prompts: of each, its new tokens, its (query, key) pairs, and the keys its last query sees.
        moved: bytes to and from memory. written: those of new K and V, which a kernel of its own reads and writes.
    """
    columns, pair_s = _columns(by, shape), _pair(on, by, shape)
    pass_s = by.rows * columns * pair_s
    group = shape.heads // shape.kv_heads if by.packs else 1
    blocks = work = longest = 0.0
    for new, pairs, most in prompts:
        tiles = math.ceil(new * group / by.rows) * shape.heads // group
        masked = (min(by.rows / group, new) + columns) / 2  # half of a tile on the diagonal is computed for nothing
        keys = max(columns, min(pairs / new + masked, most + columns))
        blocks += tiles
        work += tiles * (by.rows * keys * pair_s + _block(on, by, shape))
        longest = max(longest, math.ceil(most / columns) * pass_s)
    slots = on.multiprocessors * _resident(on, by, shape)
    if by.balances:
        longest = max(pass_s, longest * min(1.0, blocks / on.multiprocessors))
    longest += by.block_cycles / on.clock
    busy = max(longest, work / on.multiprocessors + (by.tail * longest if blocks > slots else 0.0))
    rate = on.memory(by.memory_efficiency, on.multiprocessors)
    fresh = written / (rate if written > on.cache_bytes else on.cache(by.cache_flops, on.multiprocessors))
    start = by.start_cycles + (by.extra_cycles if by.balances else 0.0)
    return start / on.clock + fresh + max(busy, moved / rate)


def decode(
    on: Processor, by: Attention, shape: Shape, sequences: int, context: float, moved: float, cached: bool = False
) -> float:
    """Time of one query each of ``sequences`` over ``context`` keys on average; start included.

    Args:
        moved: bytes to and from memory. cached: they are in the L2 cache, as where a measurement repeats itself.
    """
    columns = _columns(by, shape)
    group = shape.heads // shape.kv_heads
    shares = group > 1 or by.packs
    blocks = sequences * (shape.kv_heads * math.ceil(group / by.rows) if shares else shape.heads)
    passes = math.ceil(context / columns)
    slots = on.multiprocessors * SPLIT_SLOTS
    split = max(1, min(passes, slots // blocks)) if shares and blocks < ENOUGH * slots else 1
    kernels = (split > 1 or by.balances) + (group > 1 and shape.kv_heads > 1 and sequences > 1 and not by.packs)
    chain = math.ceil(passes / split) * by.rows * columns * _pair(on, by, shape)
    busy = max(
        blocks * split / on.multiprocessors * (chain + _block(on, by, shape)), chain + by.block_cycles / on.clock
    )
    active = min(blocks * split, on.multiprocessors)
    rate = on.cache(by.cache_flops, active) if cached else on.memory(by.memory_efficiency, active)
    return (by.start_cycles + kernels * by.extra_cycles) / on.clock + max(busy, moved / rate)


def _pair(on: Processor, by: Attention, shape: Shape) -> float:
    """Seconds of a multiprocessor for a (query, key) pair: two products and the softmax between them."""
    products, softmax = shape.pair / (on.flops_each(shape.dtype) * by.efficiency), by.softmax_cycles / on.clock
    return max(products, softmax) if by.overlaps else products + softmax


def _columns(by: Attention, shape: Shape) -> int:
    """Larger heads leave room for fewer keys."""
    return max(16, by.columns * HEAD_SIZE // shape.size // 16 * 16)


def _resident(on: Processor, by: Attention, shape: Shape) -> int:
    """Blocks that a multiprocessor holds at once: as many as their tiles fit into its shared memory.

    One that overlaps products and softmax has warps for either, whose registers fill the multiprocessor alone.
    """
    if by.overlaps:
        return 1
    tile = (by.rows + 2 * _columns(by, shape)) * shape.size * 2
    return max(1, on.shared_bytes // tile)


def _block(on: Processor, by: Attention, shape: Shape) -> float:
    """Seconds that a block adds to its multiprocessor beside products."""
    return by.block_cycles / on.clock / _resident(on, by, shape)

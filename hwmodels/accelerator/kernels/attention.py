"""Attention as FlashAttention does it: a thread block a tile of queries, passing over the keys it sees.

Prompts: all blocks share the multiprocessors, and none ends before its own keys are passed. Decodes: the query heads of
a key head share a tile, and blocks run in turns, as many at once as their tiles fit into shared memory; with too few of
them for the device, keys are split and the parts combined by another kernel. FlashAttention 2 (``balances`` false)
splits only decodes, and only where query heads share a key head; it copies queries to have these side by side.
FlashAttention 3 splits prompts' keys too, gives each multiprocessor as many passes, and in a CUDA graph vLLM has it
combine parts even where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ...catalog.families import Attention
from .gemm import together
from .processor import Processor

#: Head size of the tiles in the catalog; the columns follow the head size.
HEAD_SIZE = 128
#: Keys are split into as many parts as fill so many blocks a multiprocessor, if the blocks are fewer than this share of
#: those (FlashAttention's `num_splits_heuristic`).
SPLIT_SLOTS, ENOUGH, NEARLY = 2, 0.8, 0.85
#: Parts that FlashAttention 3's combining kernel has on their way at once (its stages); FlashAttention 2's has one.
STAGES = 4
#: A kernel that finds nothing to do: what the smallest GEMMs take beyond their work (catalog: 3,700 to 4,400).
EMPTY_CYCLES = 4000
#: Sequences beyond which FlashAttention 3 prepares no parts; rows of a multiprocessor that are combined at once.
MOST_PREPARED, COMBINED = 992, 64
#: Numbers of decodes and passes whose times are remembered: contexts grow by less than a pass a step.
MOST_REMEMBERED = 65536


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
    fresh = written / (rate if written > on.cache_bytes else on.cached(by.cache_bytes, on.multiprocessors))
    return by.start_s(on.clock) + fresh + max(busy, moved / rate)


class Decodes:
    """Decodes of one shape on one device: what hangs on neither their number nor their contexts is worked out once."""

    def __init__(self, on: Processor, by: Attention, shape: Shape) -> None:
        self._on, self._by, self._shape = on, by, shape
        self._columns = _columns(by, shape)
        group = shape.heads // shape.kv_heads
        self._shares = group > 1 or by.packs
        self._blocks = shape.kv_heads * math.ceil(group / by.rows) if self._shares else shape.heads
        self._slots = on.multiprocessors * _resident(on, by, shape)
        self._block_s = by.block_cycles / on.clock
        self._tile, self._pair_s = by.rows * self._columns, _pair(on, by, shape)
        self._start_s = by.start_ns * 1e-9
        self._of_passes: dict[tuple[int, int], tuple[float, int, float]] = {}

    def seconds(self, sequences: int, context: float, moved: float, cached: float = 0.0) -> float:
        """Time of one query each of ``sequences`` over ``context`` keys on average; start included.

        Args:
            moved: bytes to and from memory. cached: share of them that is in the L2 cache, as where a measurement
                repeats itself.
        """
        on, by = self._on, self._by
        busy, active, besides = self._in_passes(sequences, math.ceil(context / self._columns))
        rest = cached / on.cached(by.cache_bytes, active) if cached else 0.0
        read = moved * ((1 - cached) / on.memory(by.memory_efficiency, active) + rest)
        return self._start_s + together(by.sharpness, busy, read) + besides

    def progression(self, sequences: int, keys: Sequence[int], query: float, key: float) -> list[float]:
        """`seconds` for each of these sums of keys, of ``key`` bytes each, and ``query`` bytes a sequence beside them;
        written out, since there is one for every step."""
        on, by, columns, start_s = self._on, self._by, self._columns, self._start_s
        sharpness, root, queries = by.sharpness, 1 / by.sharpness, sequences * query
        passes, found = -1, []
        for total in keys:
            if (needed := math.ceil(total / sequences / columns)) != passes:
                passes = needed
                busy, active, besides = self._in_passes(sequences, passes)
                byte_s = 1 / on.memory(by.memory_efficiency, active)
            read = (queries + total * key) * byte_s
            longest, other = (busy, read) if busy > read else (read, busy)
            spent = longest * (1.0 + (other / longest) ** sharpness) ** root  # as `together` of the two
            found.append(start_s + spent + besides)
        return found

    def _in_passes(self, sequences: int, passes: int) -> tuple[float, int, float]:
        """Of so many passes over keys, however full the last: their time, the multiprocessors at work, and the time of
        kernels beside. Remembered."""
        if (found := self._of_passes.get((sequences, passes))) is None:
            if len(self._of_passes) == MOST_REMEMBERED:
                self._of_passes.clear()
            found = self._of_passes[sequences, passes] = self._of(sequences, passes)
        return found

    def _of(self, sequences: int, passes: int) -> tuple[float, int, float]:
        on, by, shape, blocks = self._on, self._by, self._shape, sequences * self._blocks
        chain, split = _split(on, by, passes, blocks) if self._shares else (passes, 1)
        turns = math.ceil(blocks * split / self._slots)
        busy = turns * (self._block_s + chain * self._tile * self._pair_s)
        besides = _combine(on, by, shape, sequences, split) + _reorder(on, by, shape, sequences)
        return busy, min(blocks * split, on.multiprocessors), besides


def _split(on: Processor, by: Attention, passes: int, blocks: int) -> tuple[int, int]:
    """Passes of a block's longest part, and the parts: as `num_splits_heuristic` of FlashAttention 2, or by the
    scheduler of FlashAttention 3, which gives every multiprocessor as many passes."""
    if by.balances:
        share = math.ceil(1.1 * blocks * passes / on.multiprocessors)
        split = max(1, min(by.most_parts, math.ceil(passes / share)))
    else:
        split = _parts(blocks, passes, by.most_parts, on.multiprocessors * SPLIT_SLOTS)
    return math.ceil(passes / split), split


@lru_cache(maxsize=65536)
def _parts(blocks: int, passes: int, most: int, slots: int) -> int:
    """The fewest parts whose last turn is nearly as full as with the best number of parts."""
    if blocks >= ENOUGH * slots:
        return 1
    lengths = {math.ceil(passes / n): n for n in range(min(most, slots, passes), 0, -1)}  # -> fewest parts
    parts = sorted(lengths.values())
    full = [blocks * n / slots / math.ceil(blocks * n / slots) for n in parts]
    return next(n for n, share in zip(parts, full, strict=True) if share >= NEARLY * max(full))


def _combine(on: Processor, by: Attention, shape: Shape, sequences: int, split: int) -> float:
    """The kernel that adds up parts: FlashAttention 3's runs in a CUDA graph even where there is one part."""
    if by.balances and sequences > MOST_PREPARED:
        return 0.0
    scheduled = sequences * by.sequence_cycles / on.clock
    if split == 1:
        return EMPTY_CYCLES / on.clock + scheduled if by.balances else 0.0
    rows = sequences * shape.heads
    parts = rows * split * shape.v_size * 4 * 2  # written and read in 32 bits
    at_once = STAGES if by.balances else 1
    each = by.part_cycles * split / at_once * math.ceil(rows / (on.multiprocessors * COMBINED)) / on.clock
    return by.extra_cycles / on.clock + scheduled + each + parts / on.cached(by.cache_bytes, on.multiprocessors)


def _reorder(on: Processor, by: Attention, shape: Shape, sequences: int) -> float:
    """FlashAttention 2 copies queries to have those of a key head side by side, and the outputs back."""
    if by.packs or shape.heads == shape.kv_heads or 1 in (shape.kv_heads, sequences):
        return 0.0
    copied = 2 * sequences * shape.heads * (shape.size + shape.v_size) * 2
    return by.extra_cycles / on.clock + copied / on.cached(by.cache_bytes, on.multiprocessors)


def _pair(on: Processor, by: Attention, shape: Shape) -> float:
    """Seconds of a multiprocessor for a (query, key) pair: two products and the softmax between them."""
    products, softmax = shape.pair / (on.flops_each(shape.dtype) * by.efficiency), by.softmax_cycles / on.clock
    return max(products, softmax) if by.overlaps else products + softmax


def _columns(by: Attention, shape: Shape) -> int:
    """Larger heads leave room for fewer keys, smaller ones for more, which FlashAttention 3 does not use."""
    fit = max(16, by.columns * HEAD_SIZE // shape.size // 16 * 16)
    return min(fit, by.columns) if by.balances else fit


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

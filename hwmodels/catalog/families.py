"""What a GPU is made of, and how an engine's kernels run on its generation: data, one file a generation.

Times are in clock cycles, and what a multiprocessor moves is stated against what it computes: on the three
generations measured these vary far less from device to device than nanoseconds and bytes a second do.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Facts(BaseModel):
    """Unknown keys are refused, NaN and infinity too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Chip(Facts):
    """A GPU's insides by its datasheet."""

    generation: str = Field(description="kernels that run on it: a file of catalog/kernels")
    multiprocessors: int = Field(gt=0, description="streaming multiprocessors that are enabled")
    clock_ghz: float = Field(gt=0, description="boost clock")
    l2_mib: float = Field(gt=0, description="L2 cache")
    shared_kib: int = Field(gt=0, description="shared memory of a multiprocessor")


class Gemm(Facts):
    """Matrix products in tiles, a tile a multiprocessor at a time.

    Attributes:
        efficiency: share of the peak FLOP/s that a tile's products reach.
        memory_efficiency: share of the memory bandwidth.
        operand_flops: FLOPs a multiprocessor does (bf16) in the time it takes to fetch one byte of operands.
        cache_flops: the same, of a byte that comes from the L2 cache and is used once.
        start_cycles: launch, first loads, end. tile_cycles: what a tile of 128 x 128 adds to each turn.
        split_cycles: what splitting the inner dimension over multiprocessors adds.
        sharpness: norm in which arithmetic, operands and memory add up; infinite is the plain maximum.
        in_cache: share of the activations' bytes that still cost memory time when all fit into the L2 cache.
    """

    efficiency: float = Field(gt=0, le=1)
    memory_efficiency: float = Field(gt=0, le=1)
    operand_flops: float = Field(gt=0)
    cache_flops: float = Field(gt=0)
    start_cycles: float = Field(ge=0)
    tile_cycles: float = Field(ge=0)
    split_cycles: float = Field(ge=0)
    sharpness: float = Field(ge=1)
    in_cache: float = Field(ge=0, le=1)

    def start_s(self, clock: float) -> float:
        """Seconds, at ``clock`` Hz, before and after the work."""
        return self.start_cycles / clock


class Attention(Facts):
    """Attention in thread blocks of ``rows`` queries that pass over keys, ``columns`` at a time.

    Attributes:
        rows, columns: FlashAttention's tile at head size 128. packs: the query heads of one key head share rows.
        balances: too few blocks are spread over all multiprocessors by splitting keys; most_parts: into so many.
        overlaps: products and softmax go on at once.
        efficiency: share of the peak FLOP/s. memory_efficiency: share of the memory bandwidth.
        cache_bytes: a multiprocessor's from the L2 cache in a cycle.
        softmax_cycles: a multiprocessor's, of a (query, key) pair.
        tail: of prompts, share of the longest block's time that the device waits for it at the end.
        start_ns: all kernels' launches. block_cycles: a block's life without products.
        extra_cycles: each further kernel: queries copied, parts of split keys combined. part_cycles: each part more.
        sequence_cycles: of FlashAttention 3, a sequence more to schedule.
        sharpness: of decodes, norm in which a turn's work and its bytes add up (as of `Gemm`).
    """

    rows: int = Field(gt=0)
    columns: int = Field(gt=0)
    packs: bool
    balances: bool
    most_parts: int = Field(default=1, gt=0)
    overlaps: bool
    efficiency: float = Field(gt=0, le=1)
    memory_efficiency: float = Field(gt=0, le=1)
    cache_bytes: float = Field(gt=0)
    softmax_cycles: float = Field(ge=0)
    tail: float = Field(default=0, ge=0, le=1)
    start_ns: float = Field(ge=0)
    block_cycles: float = Field(ge=0)
    extra_cycles: float = Field(default=0, ge=0)
    part_cycles: float = Field(default=0, ge=0)
    sequence_cycles: float = Field(default=0, ge=0)
    sharpness: float = Field(default=1, ge=1)

    def start_s(self, clock: float) -> float:
        """Seconds, at ``clock`` Hz, of launches; the kernel that combines parts is always there if it ``balances``."""
        return self.start_ns * 1e-9 + (self.extra_cycles / clock if self.balances else 0.0)


class Experts(Facts):
    """Two grouped products of a mixture of experts, and the small kernels around them.

    Attributes:
        efficiency, memory_efficiency, operand_flops, cache_flops, tile_cycles, sharpness: as of `Gemm`.
        start_ns: tokens sorted by expert, launches.
        most_rows: rows of the largest tile.
        every_pair: activation and sum pass over the pairs of other ranks' experts too (Triton's do, CUTLASS's do not).
        tuned: a rank's experts -> their intermediate sizes for which tiles were tuned; others have vLLM's plain ones.
            None: every shape has its quickest.
    """

    efficiency: float = Field(gt=0, le=1)
    memory_efficiency: float = Field(gt=0, le=1)
    operand_flops: float = Field(gt=0)
    cache_flops: float = Field(gt=0)
    start_ns: float = Field(ge=0)
    tile_cycles: float = Field(ge=0)
    sharpness: float = Field(ge=1)
    most_rows: int = Field(gt=0)
    every_pair: bool
    tuned: dict[int, tuple[int, ...]] | None = None

    def start_s(self, clock: float) -> float:
        """Seconds before and after the products; the same at every ``clock``."""
        return self.start_ns * 1e-9


class Small(Facts):
    """Norms, elementwise kernels, embeddings, samplers: bytes at a bandwidth, after a start.

    Attributes:
        seek_cycles: a multiprocessor's, for each number of a row in which it seeks where top-p cuts (Triton).
    """

    memory_efficiency: float = Field(gt=0, le=1)
    start_cycles: float = Field(ge=0)
    seek_cycles: float = Field(gt=0)

    def start_s(self, clock: float) -> float:
        return self.start_cycles / clock


class Off(Facts):
    """How far off a family is, P90 of the absolute error: on the devices that its figures are of, and on one that had
    no part in them."""

    measured: float = Field(ge=0)
    guessed: float = Field(ge=0)


class Errors(Facts):
    """Of kernels that are ``short``, at least half of whose time is `start_s`, and of ``long`` ones."""

    short: Off
    long: Off


class Kernels(Facts):
    """The kernels of one generation.

    Attributes:
        measured_on: the catalog's devices whose measurements these are; on others they are guessed.
        errors: by family, as `python -m tests.accuracy.kernels` prints them.
        sources: where each family's figures come from.
    """

    measured_on: tuple[str, ...]
    gemm: Gemm
    prefill_attention: Attention
    decode_attention: Attention
    experts: Experts
    small: Small
    errors: dict[str, Errors] = {}
    sources: dict[str, str]

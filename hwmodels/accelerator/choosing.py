"""What choosing tokens by top-p takes: logits are made probabilities, all but the likeliest are masked, one is drawn.

What to mask is found by sorting the vocabulary, or by seeking where to cut. A template that chooses by top-p has
``sorts``, and where the cut is sought for many sequences, ``seeks_from``: the fewest of which it is. Without ``sorts``
the likeliest token is taken.
"""

from __future__ import annotations

import math

from ..catalog.families import Small
from ..interface import Template
from .kernels.processor import Processor

#: Bytes for each number of the vocabulary (vllm/v1/sample, PyTorch's `SortStable.cu`): logits to fp32 and their
#: temperature 14, softmax, exponential noise, quotient and argmax 32; softmax, cumulative sum, mask and scatter of what
#: is sorted 58; and the sort, with its indices, of fewer than 128 rows as one (four radix passes over value, row and
#: place; one over rows; 156) or of each for itself (six passes; 176).
CHOOSING_BYTES, MASK_BYTES = 46, 58
SORT_BYTES, SORT_APART_BYTES, APART = 156, 176, 128
#: Cycles of a multiprocessor for each number that is sorted and masked: of fewer than 128 rows, of the first 128, of
#: more. From vLLM's pull request 40376: 131,072 numbers in 64, 128 and 512 rows take 1.005, 2.272 and 6.15 ms; its two
#: tables differ by 2 %, and its author compares B200 and B300 at these sizes elsewhere (FlashInfer's issue 2837), hence
#: 148 multiprocessors at 1.965 GHz. 8 TB/s would move their bytes in a third of that: so cycles it is.
SORT_CYCLES, SORT_APART_CYCLES, SORT_MORE_CYCLES = 35.0, 39.0, 22.0
#: Bytes for each number where the cut is sought (vllm/v1/sample/ops/topk_topp_triton.py, 0.19.0): it is read for its
#: extremes and their sum, read to gather what is likely, read and written to mask. What is gathered stays in caches.
SEEK_BYTES = 16


def choosing_bytes(template: Template, values: tuple[int, ...]) -> float:
    """Bytes that choosing by top-p moves, beside reading the logits; 0 where the likeliest token is taken."""
    if "sorts" not in template.attributes:
        return 0.0
    return float(values[0] * int(template.attributes["width"]) * CHOOSING_BYTES) + masking_bytes(template, values)


def masking_bytes(template: Template, values: tuple[int, ...]) -> float:
    """Of that, what finding the likeliest, and masking the others, moves."""
    if "sorts" not in template.attributes:
        return 0.0
    rows, width = values[0], int(template.attributes["width"])
    if _seeks(template, rows):
        return float(rows * width * SEEK_BYTES)
    return float(rows * width * (MASK_BYTES + (SORT_BYTES if rows < APART else SORT_APART_BYTES)))


def masking_s(template: Template, values: tuple[int, ...], on: Processor, small: Small) -> float:
    """Seconds that it takes on that GPU, whose small kernels these are.

    All multiprocessors sort, whatever of arithmetic and memory takes longer. A row is sought through by one of them, so
    as many rows as there are multiprocessors take no longer than one; and it waits for what it reads.
    """
    if "sorts" not in template.attributes:
        return 0.0
    rows, width = values[0], int(template.attributes["width"])
    memory_s = masking_bytes(template, values) / (on.bandwidth * small.memory_efficiency)
    if _seeks(template, rows):
        return memory_s + math.ceil(rows / on.multiprocessors) * width * small.seek_cycles / on.clock
    if rows < APART:
        cycles = rows * width * SORT_CYCLES
    else:
        cycles = width * (APART * SORT_APART_CYCLES + (rows - APART) * SORT_MORE_CYCLES)
    return max(memory_s, cycles / (on.multiprocessors * on.clock))


def _seeks(template: Template, rows: int) -> bool:
    return "seeks_from" in template.attributes and rows >= int(template.attributes["seeks_from"])

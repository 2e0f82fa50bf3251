"""What a systolic array with a memory moves for each of its tiles: which bytes a fold loads, and which it stores.

Two dimensions of a GEMM lie on the array and are cut to its size (`systolic.Array.tile`), a fold for each pair of
pieces. What stays in the cells is loaded by each fold. What streams through is loaded with the first row of folds, and
kept if all of it fits the buffer, else loaded by each. Outputs are stored when they are complete: sums over pieces of k
are kept in accumulators. Each operand begins at an address of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from .systolic import Gemm

OPERANDS_APART = 1 << 40  # bytes between the beginnings of operands
FIRST, SECOND, OUTPUT = range(3)


class Piece(NamedTuple):
    """Bytes at an address."""

    address: int
    size: int


class Fold(NamedTuple):
    """One tile: what it loads before it, the cycles it takes, what it stores after it (0 bytes: nothing)."""

    loads: tuple[Piece, ...]
    cycles: int
    store: Piece


class Bytes(NamedTuple):
    """Of an element of the operands and of the output."""

    first: float
    second: float
    output: float


class Cut(NamedTuple):
    """How a GEMM lies on an array of that many ``rows`` and ``columns``; ``buffer`` bytes keep what streams."""

    dataflow: str
    rows: int
    columns: int
    buffer: float


def folds(gemm: Gemm, cut: Cut, cycles: int, sizes: Bytes) -> Iterator[Fold]:
    """The folds of (m x k) times (k x n), in order; ``cycles`` is what each takes."""
    m, n, k = gemm
    if cut.dataflow == "ws":
        yield from _stationary(n, k, m, cut, cycles, (SECOND, FIRST), sizes)
    elif cut.dataflow == "is":
        yield from _stationary(m, k, n, cut, cycles, (FIRST, SECOND), sizes)
    else:
        yield from _outputs(gemm, cut, cycles, sizes)


def _stationary(
    across: int, k: int, through: int, cut: Cut, cycles: int, operands: tuple[int, int], sizes: Bytes
) -> Iterator[Fold]:
    """``across`` lies on the columns, k on the rows; ``through`` streams."""
    stays, streams = operands
    stay_bytes, stream_bytes = sizes[stays], sizes[streams]
    kept = through * k * stream_bytes <= cut.buffer
    stay_at = stream_at = stored = 0.0
    blocks = ceil(across / cut.columns)
    for block in range(blocks):
        width = min(cut.columns, across - block * cut.columns)
        stream_at = 0.0
        for first in range(0, k, cut.rows):
            depth = min(cut.rows, k - first)
            loads = [_piece(stays, stay_at, depth * width * stay_bytes)]
            stay_at += depth * width * stay_bytes
            if not kept or block == 0:
                loads.append(_piece(streams, stream_at, depth * through * stream_bytes))
            stream_at += depth * through * stream_bytes
            last = first + depth >= k
            size = through * width * sizes.output if last else 0.0
            yield Fold(tuple(loads), cycles, _piece(OUTPUT, stored, size))
            stored += size


def _outputs(gemm: Gemm, cut: Cut, cycles: int, sizes: Bytes) -> Iterator[Fold]:
    """Outputs stay: rows of the first operand on the rows, columns of the second on the columns."""
    m, n, k = gemm
    kept = m * k * sizes.first <= cut.buffer
    stored = 0.0
    for column in range(0, n, cut.columns):
        width = min(cut.columns, n - column)
        for row in range(0, m, cut.rows):
            height = min(cut.rows, m - row)
            loads = []
            if not kept or column == 0:
                loads.append(_piece(FIRST, row * k * sizes.first, height * k * sizes.first))
            if row == 0:
                loads.append(_piece(SECOND, column * k * sizes.second, width * k * sizes.second))
            yield Fold(tuple(loads), cycles, _piece(OUTPUT, stored, height * width * sizes.output))
            stored += height * width * sizes.output


def _piece(operand: int, start: float, size: float) -> Piece:
    return Piece(operand * OPERANDS_APART + int(start), ceil(size))

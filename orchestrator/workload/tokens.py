"""Token ids of prompts: with a beginning that others share, or as a trace describes them by hashes of blocks."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from .request import Image

MOST_TOKENS = 1 << 24  # of a prompt, an answer or a prefix; no model sees as many
FRESH = 1 << 40  # from here on ids that no prefix uses
MOST_GROUPS = FRESH // MOST_TOKENS  # of prefixes, so that none has ids of another's


class TokenRuns:
    """Ids that follow one another, in runs: made when they are asked for, read as `TokenBlocks` are."""

    __slots__ = ("_ends", "_firsts")
    itemsize = 8

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        """Of each run its first id, and how many there are."""
        firsts, counts = zip(*runs, strict=True)
        self._firsts: array[int] = array("q", firsts)
        self._ends: array[int] = array("q", accumulate(counts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, wanted: slice) -> array[int]:
        start, end, step = wanted.indices(len(self))
        if step != 1:
            raise ValueError("only whole stretches can be read")
        ids, before = array("q"), 0
        for first, until in zip(self._firsts, self._ends, strict=True):
            _extend(ids, first - before + max(start, before), first - before + min(end, until))
            before = until
        return ids

    def tobytes(self) -> bytes:
        return self[:].tobytes()


def _extend(ids: array[int], first: int, end: int) -> None:
    """By those from ``first`` on before ``end``; numpy makes no object of each."""
    ids.frombytes(np.arange(first, end, dtype=np.int64).tobytes())


def prefixed(group: int, shared: int, fresh: int, rest: int) -> TokenRuns:
    """Ids of a prompt and its answer: ``shared`` of the group's prefix, then ``rest`` from ``fresh`` on."""
    return TokenRuns([(group * MOST_TOKENS, shared), (fresh, rest)])


def placeholders(images: Sequence[Image]) -> Iterator[int]:
    """Ids of images' tokens: equal pictures, equal ids, which no text has."""
    for image in images:
        yield from range(-1 - (image.picture << 24), -1 - (image.picture << 24) - image.tokens, -1)


class TokenBlocks:
    """The ids of a prompt that is known by one number for each ``size`` tokens: equal numbers, equal tokens.

    Ids are made when they are asked for, so that a long prompt that waits costs a few bytes a block. Block n of number
    h has the ids h x size to h x size + size - 1; so an engine whose blocks divide ``size`` finds exactly the prefixes
    that the trace says are shared. It reads as an ``array('q')`` does, as far as engines read one.
    """

    __slots__ = ("_hashes", "_length", "size")
    itemsize = 8

    def __init__(self, hashes: Sequence[int], size: int, length: int) -> None:
        """``length`` tokens, the last block's in part; ``hashes`` has one number for each block. Raises ValueError."""
        if len(hashes) != -(-length // size):
            raise ValueError(f"{length} tokens are {-(-length // size)} blocks of {size}, not {len(hashes)}")
        self._hashes, self.size, self._length = array("q", hashes), size, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, wanted: slice) -> array[int]:
        start, end, step = wanted.indices(self._length)
        if step != 1:
            raise ValueError("only whole stretches can be read")
        size, ids = self.size, array("q")
        for block in range(start // size, -(-end // size)):
            base = self._hashes[block] * size - block * size
            _extend(ids, base + max(start, block * size), base + min(end, (block + 1) * size))
        return ids

    def tobytes(self) -> bytes:
        return self[:].tobytes()


#: A request's, where they are known.
TokenIds: TypeAlias = "array[int] | TokenBlocks | TokenRuns"

"""A workload that can be read again from where a copy of it was made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .request import Request


class _Read:
    """What has been read so far, kept for every copy."""

    def __init__(self, source: Iterator[Request]) -> None:
        self.source, self.kept = source, list[Request]()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Read:
        return self


class Rewindable:
    """An iterator whose (deep) copies go on, each on its own, from where they were made. Keeps all it has read."""

    def __init__(self, source: Iterator[Request]) -> None:
        self._read, self._next = _Read(source), 0

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        read = self._read
        if self._next == len(read.kept):
            read.kept.append(next(read.source))
        self._next += 1
        return read.kept[self._next - 1]

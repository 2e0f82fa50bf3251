"""Rows that are made when they are looked at: of many, only what they are made of is kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

Row = TypeVar("Row", covariant=True)


class Rows(Sequence[Row]):
    """Equal to any sequence of equal rows."""

    __slots__ = ()

    @abstractmethod
    def row(self, place: int) -> Row:
        """``place``: from 0 up to the number of rows."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self.row(one) for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self.row(place % len(self))

    def __iter__(self) -> Iterator[Row]:
        return (self.row(place) for place in range(len(self)))

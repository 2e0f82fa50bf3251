"""Rows of a table, kept by column: a file of a million requests takes a fraction of what its cells do as objects."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

from ..rows import Rows

Cell = int | float | str | None
_NOTHING = -(2**63)  # in a column of numbers that are whole


class _Column:
    """Whole numbers and nothing, as long as there is nothing else; then anything."""

    def __init__(self) -> None:
        self._numbers, self._cells = array("q"), list[Cell]()
        self._whole = True

    def append(self, cell: Cell) -> None:
        if self._whole:
            if cell is None or (type(cell) is int and _NOTHING < cell < 2**63):
                self._numbers.append(_NOTHING if cell is None else cell)
                return
            self._cells = [self[place] for place in range(len(self._numbers))]
            self._numbers, self._whole = array("q"), False
        self._cells.append(cell)

    def __getitem__(self, place: int) -> Cell:
        if not self._whole:
            return self._cells[place]
        number = self._numbers[place]
        return None if number == _NOTHING else number


class ColumnRows(Rows[tuple[Cell, ...]]):
    """So many rows of these cells; equal texts are one object."""

    def __init__(self, columns: int, rows: Iterable[Sequence[str]], cell: Callable[[str], Cell]) -> None:
        self._columns, self._count = [_Column() for _ in range(columns)], 0
        texts: dict[str, str] = {}
        for row in rows:
            for column, text in zip(self._columns, row, strict=True):
                found = cell(text)
                column.append(texts.setdefault(found, found) if isinstance(found, str) else found)
            self._count += 1

    def column(self, place: int) -> list[Cell]:
        """Its cells, by row."""
        column = self._columns[place]
        return [column[row] for row in range(self._count)]

    def __len__(self) -> int:
        return self._count

    def row(self, place: int) -> tuple[Cell, ...]:
        return tuple(column[place] for column in self._columns)

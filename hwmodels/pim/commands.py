"""The DRAM commands of a channel that `dram_pim` counts, one by one, for tools that replay or check such streams.

Commands have the names of AttAcc's Ramulator 2: ``ACTAB``, ``MACAB`` and ``PREA`` go to all banks, ``...SB`` to the
same bank of each bank group, ``...PB`` to one bank of each rank or pseudo-channel. A stream is of the query heads that
share one K and V: the product with K, then that with V. Vectors on their way and refresh are not in it: the model hides
the former, and takes the latter as a share of all time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .dram_pim import Arrangement

NAMES = {
    "bank": ("ACTAB", "MACAB", "PREA"),
    "bank-pair": ("ACTAB", "MACAB", "PREA"),
    "bank-group": ("ACTSB", "MACSB", "PRESB"),
    "rank": ("ACTPB", "MACPB", "PREPB"),
    "buffer": ("ACTPB", "MACPB", "PREPB"),
}


class Command(NamedTuple):
    """``bank`` counts those that units read in turn, ``query`` the heads that share K and V."""

    cycle: int
    name: str
    bank: int
    row: int
    column: int
    query: int

    def __str__(self) -> str:
        """A line as Ramulator 2's trace recorders write it: cycle, command, address."""
        return ", ".join(map(str, self))


def stream(units: Arrangement, context: int, size: int, kv_width: float, queries: int = 1) -> Iterator[Command]:
    """Commands of one channel, in the order of their cycles; a row number for each row of K, then of V."""
    activate, multiply, precharge = NAMES[units.at]
    product, since, opened = units.product(context, size, kv_width, queries), 0.0, 0
    found: list[Command] = []
    for half in range(2):
        for query in range(product.passes):
            left = product.commands
            for number in range(product.rows):
                bank, row = opened % units.in_turn, half * product.rows + number
                opened += 1
                first = since + (units.opening if units.in_turn == 1 else product.change)
                found.append(Command(max(0, round(first - units.opening)), activate, bank, row, 0, query))
                columns = min(left, product.columns)
                for place in range(columns * product.in_row):
                    column, mine = divmod(place, product.in_row)
                    at = round(first + place * product.apart)
                    found.append(Command(at, multiply, bank, row, column, query + mine))
                left -= columns
                read = columns * product.in_row * product.apart
                found.append(Command(round(first + read) + units.closing, precharge, bank, row, 0, query))
                since += read + product.change
    yield from sorted(found, key=lambda one: one.cycle)


__all__ = ("Command", "stream")

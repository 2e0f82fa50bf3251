"""Vidur's CSV: ``num_prefill_tokens,num_decode_tokens``, with ``arrived_at`` (s) in traces and without in length
statistics. Source: microsoft/vidur, data/processed_traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..options import TraceOptions
from ..registry import Format, Reading
from ..request import Request
from ..rows import csv_lines, seconds, tokens

COLUMNS = ("num_prefill_tokens", "num_decode_tokens")


class VidurOptions(TraceOptions):
    """A CSV file of Vidur's."""

    format: Literal["vidur"] = "vidur"
    arrivals: bool = Field(default=False, description="use the column arrived_at; without it all come at once")

    @property
    def has_arrivals(self) -> bool:
        return self.arrivals


def read(options: VidurOptions, reading: Reading) -> Iterator[Request]:
    needed = (*COLUMNS, "arrived_at") if options.arrivals else COLUMNS
    for number, (where, row) in enumerate(csv_lines(reading.path(options.path), options.format, needed)):
        if not number and not options.arrivals and "arrived_at" in row and not options.given:
            reading.note(f"{options.path} has a column arrived_at, which is left aside: arrivals: true uses it")
        arrival = seconds(where, row, "arrived_at") if options.arrivals else 0
        yield Request(number, arrival, tokens(where, row, COLUMNS[0]), tokens(where, row, COLUMNS[1]))


def _looks_like(path: Path, head: bytes) -> bool:
    return all(column.encode() in head.split(b"\n", 1)[0] for column in COLUMNS)


FORMAT = Format(VidurOptions, read, _looks_like)

"""Any CSV file, or Parquet with the extra ``parquet``: a map says which column is what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from ...errors import InputError
from ...strict import Strict
from ..options import TraceOptions
from ..registry import Format, Reading
from ..request import Image, Request
from ..rows import csv_lines, empty, seconds, tokens
from .azure import time_ps

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Columns(Strict):
    """Names of columns; one that is not named is not read."""

    input_tokens: str = Field(description="tokens of the prompt")
    output_tokens: str = Field(description="tokens of the answer")
    arrival: str | None = Field(default=None, description="when it is sent")
    session: str | None = Field(default=None, description="requests of one conversation have the same")
    priority: str | None = Field(default=None, description="smaller is served first")
    abort_after: str | None = Field(default=None, description="when its client gives it up, after its arrival")
    image_tokens: str | None = Field(
        default=None, description="tokens of the prompt that are those of images, together"
    )
    images: str | None = Field(default=None, description="how many images these are; default: one")


class TableOptions(TraceOptions):
    """A CSV or Parquet (.parquet) file with a map of its columns."""

    format: Literal["csv"] = "csv"
    columns: Columns = Field(description="names of the columns by what they hold")
    unit: Literal["s", "ms", "us", "ns", "datetime"] = Field(
        default="s", description="of arrival (datetime: the first row's is 0) and abort_after (datetime: s)"
    )

    @property
    def has_images(self) -> bool:
        return self.columns.image_tokens is not None

    @property
    def has_arrivals(self) -> bool:
        return self.columns.arrival is not None


def read(options: TableOptions, reading: Reading) -> Iterator[Request]:
    columns, unit = options.columns, UNITS.get(options.unit, 1.0)
    needed = [name for name in columns.model_dump().values() if name is not None]
    start: int | None = None
    for number, (where, row) in enumerate(_rows(options, reading, needed)):
        arrival = 0
        if columns.arrival is not None and options.unit == "datetime":
            now = time_ps(where, columns.arrival, str(row[columns.arrival]))
            start = now if start is None else start
            arrival = now - start
        elif columns.arrival is not None:
            arrival = seconds(where, row, columns.arrival, unit)
        session, priority, abort = (
            name if name is not None and row[name] not in ("", None) else None  # an empty cell is none
            for name in (columns.session, columns.priority, columns.abort_after)
        )
        yield Request(
            number,
            arrival,
            tokens(where, row, columns.input_tokens),
            tokens(where, row, columns.output_tokens),
            session=str(row[session]) if session else None,
            priority=_whole(where, priority, row) if priority else 0,
            abort_after_ps=seconds(where, row, abort, unit) if abort else None,
            images=tuple(_images(where, columns, row, number)) if columns.image_tokens else (),
        )


def _images(where: str, columns: Columns, row: dict[str, Any], number: int) -> Iterator[Image]:
    """Those of request ``number``, at the beginning of its prompt; each is like no other, and they are of one size."""
    field = columns.image_tokens or ""
    in_all, count = tokens(where, row, field), tokens(where, row, columns.images) if columns.images else 1
    if in_all > tokens(where, row, columns.input_tokens):
        raise InputError(where, field, in_all, "must be among the tokens of the prompt")
    if in_all and not count:
        raise InputError(where, columns.images or "", count, f"must be at least 1: {field} is {in_all}")
    for place in range(count if in_all else 0):
        start, end = in_all * place // count, in_all * (place + 1) // count
        if start == end:
            raise InputError(where, field, in_all, f"must be at least 1 for each of {count} images")
        yield Image(start, end - start, (number << 16) + place)


def _whole(where: str, field: str, row: dict[str, Any]) -> int:
    value = row[field]
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = None
    if whole is None or (isinstance(value, float) and whole != value):
        raise InputError(where, field, value, "must be a whole number")
    return whole


def _rows(options: TableOptions, reading: Reading, needed: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    path = reading.path(options.path)
    if path.suffix != ".parquet":
        yield from csv_lines(path, options.format, needed)
        return
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise InputError(str(path), "workload", None, "needs pip install 'metronome-cosim[parquet]'") from None
    number = 0
    try:
        file = parquet.ParquetFile(path)
        missing = [name for name in needed if name not in file.schema_arrow.names]
        if missing:
            names = ", ".join(file.schema_arrow.names)
            raise InputError(str(path), "workload.columns", missing[0], f"is no column; there is {names}")
        for batch in file.iter_batches(batch_size=4096, columns=needed):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}: row {number}", row
    except (OSError, ArrowException) as error:
        raise InputError(str(path), "workload", None, f"cannot be read: {error}") from None
    if not number:
        raise empty(path)


FORMAT = Format(TableOptions, read)

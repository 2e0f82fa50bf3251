"""Azure's LLM inference traces of 2023 and 2024: CSV of ``TIMESTAMP,ContextTokens,GeneratedTokens``.

In 2025's of multimodal models there is ``NumImages``, too, but not how many of the tokens are theirs: all are read as
text, which is said. The first row's time is 0. Timestamps have up to seven decimals, and in 2024 a time zone. Source:
Azure/AzurePublicDataset (CC-BY-4.0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from ...errors import InputError
from ..options import TimedTraceOptions
from ..registry import Format, Reading
from ..request import Request
from ..rows import csv_lines, tokens, unread

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
TIME = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:?\d\d)?$")


class AzureOptions(TimedTraceOptions):
    """A CSV file of Azure's LLM traces, 2023 to 2025."""

    format: Literal["azure"] = "azure"


def read(options: AzureOptions, reading: Reading) -> Iterator[Request]:
    start: int | None = None
    for number, (where, row) in enumerate(csv_lines(reading.path(options.path), options.format, COLUMNS)):
        if not number:
            unread(reading, options.path, row, COLUMNS)
        now = time_ps(where, "TIMESTAMP", row["TIMESTAMP"])
        start = now if start is None else start
        yield Request(number, now - start, tokens(where, row, COLUMNS[1]), tokens(where, row, COLUMNS[2]))


def time_ps(where: str, field: str, text: str) -> int:
    """Picoseconds since 1970 of a date and time, without a time zone in UTC. Raises InputError."""
    match = TIME.match(text.strip())
    try:
        if match is None:
            raise ValueError
        date = datetime.fromisoformat(match[1] + (match[3] or ""))
    except ValueError:
        raise InputError(where, field, text, "must be a date and time, as 2023-11-16 18:15:46.6805900") from None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    whole = (date - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return whole * 10**12 + int((match[2] or "").ljust(12, "0"))


def _looks_like(path: Path, head: bytes) -> bool:
    header = head.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].strip().split(b",")
    return {column.encode() for column in COLUMNS} <= set(header)


FORMAT = Format(AzureOptions, read, _looks_like)

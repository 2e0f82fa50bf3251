"""BurstGPT's CSV: ``Timestamp`` (s), ``Model``, ``Request tokens``, ``Response tokens``, ``Log Type``, and in newer
files ``Session ID``. Requests that failed there have no response tokens; here they are refused as a server would.
Source: HPMLL/BurstGPT (CC-BY-4.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from ..options import TimedTraceOptions
from ..registry import Format, Reading
from ..request import Request
from ..rows import csv_lines, seconds, tokens

COLUMNS = ("Timestamp", "Request tokens", "Response tokens")


class BurstGptOptions(TimedTraceOptions):
    """A BurstGPT CSV file."""

    format: Literal["burstgpt"] = "burstgpt"
    model: Literal["ChatGPT", "GPT-4"] | None = Field(default=None, description="only rows of this model")
    log_type: Literal["Conversation log", "API log"] | None = Field(default=None, description="only rows of this type")


def read(options: BurstGptOptions, reading: Reading) -> Iterator[Request]:
    wanted = {"Model": options.model, "Log Type": options.log_type}
    wanted = {column: value for column, value in wanted.items() if value is not None}
    for number, (where, row) in enumerate(csv_lines(reading.path(options.path), options.format, (*COLUMNS, *wanted))):
        if any(row[column] != value for column, value in wanted.items()):
            continue
        yield Request(
            number,
            seconds(where, row, "Timestamp"),
            tokens(where, row, "Request tokens"),
            tokens(where, row, "Response tokens"),
            session=row.get("Session ID") or None,
        )


def _looks_like(path: Path, head: bytes) -> bool:
    return b"Request tokens,Response tokens" in head.split(b"\n", 1)[0]


FORMAT = Format(BurstGptOptions, read, _looks_like)

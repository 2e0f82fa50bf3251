"""Mooncake's JSONL (FAST'25): ``timestamp`` (ms), ``input_length``, ``output_length``, ``hash_ids``.

A hash id names 512 tokens of a prompt and all before them; the last may name fewer. Equal ids are equal tokens, so
they are what prefix caches hit. Of the fields that others have added ``session_id`` and ``priority`` are taken.
Source: kvcache-ai/Mooncake, FAST25-release/traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ...errors import InputError
from ..options import TimedTraceOptions
from ..registry import Format, Reading, unlike
from ..request import Request
from ..rows import json_lines, seconds, tokens
from ..tokens import TokenBlocks

FIELDS = ("timestamp", "input_length", "output_length", "hash_ids")
TAKEN = (*FIELDS, "session_id", "priority", "request_id")
BLOCK = 512


class MooncakeOptions(TimedTraceOptions):
    """A Mooncake JSONL file; its hash ids drive the prefix cache."""

    format: Literal["mooncake"] = "mooncake"


def read(options: MooncakeOptions, reading: Reading) -> Iterator[Request]:
    path = reading.path(options.path)
    for number, (where, row) in enumerate(json_lines(path, options.format)):
        other = [key for key in row if key not in TAKEN]
        if other:
            raise InputError(where, other[0], row[other[0]], f"is not modelled{unlike(path, options.format)}")
        prompt = tokens(where, row, "input_length")
        session = row.get("session_id")
        yield Request(
            number,
            seconds(where, row, "timestamp", 1e-3),
            prompt,
            tokens(where, row, "output_length"),
            blocks(where, "hash_ids", row.get("hash_ids"), BLOCK, prompt),
            None if session is None else str(session),
            priority=priority(where, row),
        )


def blocks(where: str, field: str, hashes: object, size: int, prompt: int) -> TokenBlocks | None:
    """A prompt by its hash ids; None where there are none. Raises InputError."""
    if hashes is None:
        return None
    if not isinstance(hashes, list) or not all(type(one) is int and 0 <= one < 2**63 // size for one in hashes):
        raise InputError(where, field, hashes, "must be a list of whole numbers, 0 or more")
    try:
        return TokenBlocks(hashes, size, prompt)
    except ValueError as error:
        raise InputError(where, field, len(hashes), str(error)) from None


def priority(where: str, row: dict[str, object]) -> int:
    value = row.get("priority", 0)
    if type(value) is not int:
        raise InputError(where, "priority", value, "must be a whole number")
    return value


def _looks_like(path: Path, head: bytes) -> bool:
    return all(f'"{field}"'.encode() in head for field in FIELDS)


FORMAT = Format(MooncakeOptions, read, _looks_like)

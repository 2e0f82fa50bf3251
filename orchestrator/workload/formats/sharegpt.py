"""ShareGPT's JSON: a list of ``conversations`` of ``from`` and ``value``.

As `vllm bench serve --dataset-name sharegpt` reads it: of each conversation with two turns or more the first is the
prompt and the second the answer; those under 4 tokens, of prompts over 1,024 or over 2,048 in all are left out
(vllm/benchmarks/datasets, is_valid_sequence). There are no times of arrival. vLLM's
``sharegpt_output_len`` and ``num_prompts`` (here ``limit``) are keys, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from ...errors import InputError
from ..options import by_our_names
from ..registry import Format, Reading, unlike
from ..request import Request
from ..rows import whole_json
from ..texts import TextOptions, encoder
from ..tokens import MOST_TOKENS


class ShareGptOptions(TextOptions):
    """A ShareGPT JSON file, read whole."""

    format: Literal["sharegpt"] = "sharegpt"
    output_len: int | None = Field(
        default=None, ge=1, le=MOST_TOKENS, description="of all answers; default: the file's"
    )
    filter: bool = Field(default=True, description="leave out what vLLM's client leaves out")

    @model_validator(mode="before")
    @classmethod
    def _flags(cls, data: Any) -> Any:
        return by_our_names(data, "sharegpt_", cls.model_fields, {"num_prompts": "limit"})


def read(options: ShareGptOptions, reading: Reading) -> Iterator[Request]:
    path = reading.path(options.path)
    content = whole_json(path, options.format)
    if not isinstance(content, list):
        raise InputError(str(path), "content", None, f"must be a list{unlike(path, options.format)}")
    encode, number, left_out = encoder(options, reading), 0, 0
    for place, row in enumerate(content):
        turns = _turns(f"{path}: item {place}", row)
        if len(turns) < 2:
            left_out += 1
            continue
        (inputs, ids), (outputs, _) = encode(turns[0]), encode(turns[1])
        outputs = options.output_len or outputs
        short = inputs < 4 or (options.output_len is None and outputs < 4)
        if options.filter and (short or inputs > 1024 or inputs + outputs > 2048):
            left_out += 1
            continue
        yield Request(number, 0, inputs, outputs, ids)
        number += 1
    if left_out:
        reading.note(f"{options.path}: {left_out} of {len(content)} conversations left out, as vLLM's client does")
    if not number:
        raise InputError(str(path), "workload", None, "has no conversation that can be used")


def _turns(where: str, row: Any) -> list[str]:
    turns = row.get("conversations", row.get("conversation")) if isinstance(row, dict) else None
    if not isinstance(turns, list) or not all(isinstance(t, dict) and isinstance(t.get("value"), str) for t in turns):
        raise InputError(where, "conversations", None, "must be a list of objects with from and value")
    return [turn["value"] for turn in turns]


def _looks_like(path: Path, head: bytes) -> bool:
    return head.lstrip().startswith(b"[") and b'"conversations"' in head


FORMAT = Format(ShareGptOptions, read, _looks_like)

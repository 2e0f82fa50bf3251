"""The timed traces of `vllm bench serve --dataset-name timed_trace`: Mooncake's form with other units and names.

Defaults are vLLM's: hash ids of 16 tokens, times in seconds; a prompt has the tokens that its hash ids say, up to
``input_length``. Source: vllm/benchmarks/datasets (TimedTrace).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from ...errors import InputError
from ..options import TimedTraceOptions, by_our_names
from ..registry import Format, Reading
from ..request import Request
from ..rows import json_lines, seconds, tokens, unread
from .mooncake import blocks


class TimedTrace(TimedTraceOptions):
    """A timed trace of vLLM's; keys are its flags, also less ``timed_trace_``."""

    format: Literal["timed_trace"] = "timed_trace"
    chunk_hash_size: int = Field(default=16, ge=1, description="tokens a hash id; Mooncake's have 512")
    sec_multiplier: float = Field(default=1.0, gt=0, description="seconds a unit of time; 0.001 for milliseconds")
    label_timestamp: str = Field(default="timestamp", description="key of the arrival")
    label_input_length: str = Field(default="input_length", description="key of the tokens of the prompt")
    label_output_length: str = Field(default="output_length", description="key of the tokens of the answer")
    label_hash_ids: str = Field(default="hash_ids", description="key of the hashes of the blocks of the prompt")

    @model_validator(mode="before")
    @classmethod
    def _flags(cls, data: Any) -> Any:
        return by_our_names(data, "timed_trace_", cls.model_fields)


def read(options: TimedTrace, reading: Reading) -> Iterator[Request]:
    labels = {value for name, value in options if name.startswith("label_")}
    for number, (where, row) in enumerate(json_lines(reading.path(options.path), options.format)):
        if not row.keys() <= labels:
            unread(reading, options.path, row, labels)
        prompt, hashes = tokens(where, row, options.label_input_length), row.get(options.label_hash_ids)
        if not isinstance(hashes, list):
            raise InputError(where, options.label_hash_ids, hashes, "must be a list of whole numbers")
        prompt = min(prompt, len(hashes) * options.chunk_hash_size)
        hashes = hashes[: -(-prompt // options.chunk_hash_size)]
        yield Request(
            number,
            seconds(where, row, options.label_timestamp, options.sec_multiplier),
            prompt,
            tokens(where, row, options.label_output_length),
            blocks(where, options.label_hash_ids, hashes, options.chunk_hash_size, prompt),
        )


FORMAT = Format(TimedTrace, read)

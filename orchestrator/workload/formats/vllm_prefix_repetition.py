"""`vllm bench serve --dataset-name prefix_repetition`: a few prefixes, each with as many suffixes, shuffled; keys are
its flags, also less ``prefix_repetition_``. Source: vllm/benchmarks/datasets (PrefixRepetitionRandomDataset)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any, Literal

from pydantic import Field, model_validator

from ..options import by_our_names
from ..registry import Format, Reading
from ..request import Request
from ..tokens import MOST_GROUPS, MOST_TOKENS
from .vllm_random import BenchOptions, with_prefixes


class PrefixRepetitionOptions(BenchOptions):
    """vLLM's prefix_repetition dataset."""

    format: Literal["prefix_repetition"] = "prefix_repetition"
    prefix_len: int = Field(default=256, ge=0, le=MOST_TOKENS, description="tokens of each prefix")
    suffix_len: int = Field(default=256, ge=1, le=MOST_TOKENS, description="tokens after it, of each request its own")
    num_prefixes: int = Field(default=10, ge=1, le=MOST_GROUPS, description="prefixes that are shared")
    output_len: int = Field(default=128, ge=1, le=MOST_TOKENS, description="tokens of the answers")

    @model_validator(mode="before")
    @classmethod
    def _flags(cls, data: Any) -> Any:
        return by_our_names(data, "prefix_repetition_", cls.model_fields)

    @model_validator(mode="after")
    def _enough(self) -> PrefixRepetitionOptions:
        if self.num_prompts < self.num_prefixes:
            raise ValueError("num_prompts must not be below num_prefixes")
        return self


def read(options: PrefixRepetitionOptions, reading: Reading) -> Iterator[Request]:
    each = options.num_prompts // options.num_prefixes
    groups = [group for group in range(options.num_prefixes) for _ in range(each)]
    reading.stream("prefix").shuffle(groups)
    sizes = repeat((options.prefix_len, options.suffix_len, options.output_len), len(groups))
    return with_prefixes(options, reading, iter(sizes), groups)


FORMAT = Format(PrefixRepetitionOptions, read)

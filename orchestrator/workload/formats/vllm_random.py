"""`vllm bench serve --dataset-name random`: a prefix that all share, then a prompt of its own; keys are its flags.

Lengths are even over floor(L x (1 - r)) to ceil(L x (1 + r)) tokens. Source: vllm/benchmarks/datasets (RandomDataset)
and vllm/benchmarks/serve.py, whose defaults these are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ...strict import Strict
from ..arrivals import Arrivals
from ..options import WorkloadOptions
from ..registry import Format, Reading
from ..request import Request
from ..tokens import FRESH, MOST_TOKENS, prefixed


class BenchOptions(WorkloadOptions):
    """Flags of `vllm bench serve` that its made-up datasets share; without request_rate all are sent at once."""

    num_prompts: int = Field(default=1000, ge=1, description="sent in all")


class RangeRatio(Strict):
    """Apart for prompts and answers."""

    input: float = Field(default=0.0, ge=0, lt=1, description="of the prompts")
    output: float = Field(default=0.0, ge=0, lt=1, description="of the answers")


class RandomOptions(BenchOptions):
    """vLLM's random dataset."""

    format: Literal["random"] = "random"
    random_input_len: int = Field(default=1024, ge=0, le=MOST_TOKENS, description="tokens of the prompts, on average")
    random_output_len: int = Field(default=128, ge=1, le=MOST_TOKENS, description="tokens of the answers, on average")
    random_range_ratio: Annotated[float, Field(ge=0, lt=1)] | RangeRatio = Field(
        default=0.0, description="lengths lie within length x (1 - ratio) to length x (1 + ratio)"
    )
    random_prefix_len: int = Field(default=0, ge=0, le=MOST_TOKENS, description="tokens that all prompts begin with")


def read(options: RandomOptions, reading: Reading) -> Iterator[Request]:
    ratio = options.random_range_ratio
    if isinstance(ratio, float):
        ratio = RangeRatio(input=ratio, output=ratio)
    inputs, outputs = reading.stream("in"), reading.stream("out")
    pairs = (
        (
            options.random_prefix_len,
            _draw(inputs, options.random_input_len, ratio.input),
            max(1, _draw(outputs, options.random_output_len, ratio.output)),
        )
        for _ in range(options.num_prompts)
    )
    return with_prefixes(options, reading, pairs, [0] * options.num_prompts)


def with_prefixes(
    options: BenchOptions, reading: Reading, sizes: Iterator[tuple[int, int, int]], groups: list[int]
) -> Iterator[Request]:
    """Requests of (prefix, own prompt, answer) tokens, the prefix being that of their group."""
    arrivals = Arrivals(options, reading.stream("gaps"), len(groups), exact=True)
    fresh = FRESH
    for number, ((prefix, own, answer), group) in enumerate(zip(sizes, groups, strict=True)):
        ids = None
        if prefix:
            ids = prefixed(group, prefix, fresh, own + answer)
            fresh += own + answer
        yield Request(number, arrivals.next_ps(), prefix + own, answer, ids)


def _draw(random: np.random.Generator, length: int, ratio: float) -> int:
    low, high = math.floor(length * (1 - ratio)), math.ceil(length * (1 + ratio))
    return int(random.integers(low, high + 1))


FORMAT = Format(RandomOptions, read)

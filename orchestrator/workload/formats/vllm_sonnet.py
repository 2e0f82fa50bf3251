"""`vllm bench serve --dataset-name sonnet`: prompts of one length whose beginnings are the same lines; keys are its
flags. The lines of the poem differ a little in tokens, so there a prompt's length is met to within a line; here
exactly. Source: vllm/benchmarks/datasets (SonnetDataset)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Literal

from pydantic import Field, model_validator

from ..registry import Format, Reading
from ..request import Request
from ..tokens import MOST_TOKENS
from .vllm_random import BenchOptions, with_prefixes


class SonnetOptions(BenchOptions):
    """vLLM's sonnet dataset."""

    format: Literal["sonnet"] = "sonnet"
    sonnet_input_len: int = Field(default=550, ge=1, le=MOST_TOKENS, description="tokens of the prompts")
    sonnet_output_len: int = Field(default=150, ge=1, le=MOST_TOKENS, description="tokens of the answers")
    sonnet_prefix_len: int = Field(default=200, ge=0, le=MOST_TOKENS, description="tokens that all prompts begin with")

    @model_validator(mode="after")
    def _fits(self) -> SonnetOptions:
        if self.sonnet_prefix_len > self.sonnet_input_len:
            raise ValueError("sonnet_prefix_len must not be above sonnet_input_len")
        return self


def read(options: SonnetOptions, reading: Reading) -> Iterator[Request]:
    own = options.sonnet_input_len - options.sonnet_prefix_len
    sizes = repeat((options.sonnet_prefix_len, own, options.sonnet_output_len), options.num_prompts)
    return with_prefixes(options, reading, iter(sizes), [0] * options.num_prompts)


FORMAT = Format(SonnetOptions, read)

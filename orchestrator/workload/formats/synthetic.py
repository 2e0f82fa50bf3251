"""Made-up traffic: gamma or Poisson arrivals, drawn lengths, shared prefixes; all from one seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..arrivals import Arrivals
from ..options import WorkloadOptions
from ..randomness import Lengths
from ..registry import Format, Reading
from ..request import Request
from ..tokens import FRESH, prefixed


class SharedPrefix(BaseModel):
    """System prompts: each request starts with one of ``groups`` prefixes of ``tokens`` tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    groups: int = Field(default=1, ge=1, description="prefixes, of which each request has one by chance")
    tokens: int = Field(ge=1, description="of each prefix")


class Synthetic(WorkloadOptions):
    """A synthetic workload: so many requests at that pace, of drawn lengths."""

    format: Literal["synthetic"] = "synthetic"
    num_requests: int = Field(ge=1, description="sent in all")
    input_tokens: Lengths = Field(description="of the prompts")
    output_tokens: Lengths = Field(description="of the answers")
    shared_prefix: SharedPrefix | None = Field(default=None, description="beginnings that prompts have in common")

    @model_validator(mode="after")
    def _paced(self) -> Synthetic:
        if not self.given and self.max_concurrency is None:
            raise ValueError("request_rate is missing (requests per second, or inf); or give rates or a ramp")
        return self


def generate(spec: Synthetic, reading: Reading) -> Iterator[Request]:
    """Requests in order of arrival; the same spec and seed give the same requests."""
    gaps, inputs, outputs, groups = (reading.stream(part) for part in ("gaps", "in", "out", "prefix"))
    total = min(spec.num_requests, spec.limit or spec.num_requests)
    arrivals = Arrivals(spec, gaps, total)
    fresh = FRESH
    for number in range(total):
        arrival = arrivals.next_ps()
        prompt, answer = spec.input_tokens.draw(inputs), spec.output_tokens.draw(outputs)
        ids = None
        if spec.shared_prefix:
            shared = min(spec.shared_prefix.tokens, prompt)
            group = int(groups.integers(spec.shared_prefix.groups))
            ids = prefixed(group, shared, fresh, prompt + answer - shared)
            fresh += prompt + answer
        yield Request(number, arrival, prompt, answer, ids)


FORMAT = Format(Synthetic, generate)

"""Made-up traffic: gamma or Poisson arrivals, drawn lengths, shared prefixes; all from one seed."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from .request import Request

PS_PER_S = 10**12


class Lengths(BaseModel):
    """How long prompts or answers are, in tokens.

    ``fixed`` always takes ``mean``; ``lognormal`` has that mean and the given sigma of the logarithm,
    cut to [min, max].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    distribution: Literal["fixed", "lognormal"] = "lognormal"
    mean: float = Field(gt=0, allow_inf_nan=False)
    sigma: float = Field(default=0.8, ge=0, le=5)
    min: int = Field(default=1, ge=1)
    max: int = Field(default=1_000_000, ge=1)


class SharedPrefix(BaseModel):
    """System prompts: each request starts with one of ``groups`` prefixes of ``tokens`` tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    groups: int = Field(default=1, ge=1)
    tokens: int = Field(ge=1)


class Synthetic(BaseModel):
    """A synthetic workload; ``burstiness`` is the shape of gamma-distributed gaps, 1 = Poisson."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["synthetic"] = "synthetic"
    num_requests: int = Field(ge=1)
    request_rate: float = Field(gt=0, allow_inf_nan=False, description="requests per second")
    burstiness: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    input_tokens: Lengths
    output_tokens: Lengths
    shared_prefix: SharedPrefix | None = None
    limit: int | None = Field(default=None, ge=1)


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of one part of the run: by name, so parts cannot disturb each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))


def generate(spec: Synthetic, seed: int) -> Iterator[Request]:
    """Requests in order of arrival; the same spec and seed give the same requests."""
    gaps, inputs, outputs, groups = (stream(seed, f"workload.{part}") for part in ("gaps", "in", "out", "prefix"))
    now = 0.0
    fresh = 1 << 40  # ids no prefix uses
    for number in range(min(spec.num_requests, spec.limit or spec.num_requests)):
        now += gaps.gamma(spec.burstiness, 1 / (spec.request_rate * spec.burstiness))
        prompt, answer = _draw(spec.input_tokens, inputs), _draw(spec.output_tokens, outputs)
        ids = None
        if spec.shared_prefix:
            shared = min(spec.shared_prefix.tokens, prompt)
            base = int(groups.integers(spec.shared_prefix.groups)) << 24
            ids = array("q", range(base, base + shared))
            ids.extend(range(fresh, fresh + prompt + answer - shared))
            fresh += prompt + answer
        yield Request(number, round(now * PS_PER_S), prompt, answer, ids)


def _draw(spec: Lengths, random: np.random.Generator) -> int:
    if spec.distribution == "fixed":
        length = round(spec.mean)
    else:
        # The mean of a lognormal is exp(mu + sigma^2 / 2).
        length = round(random.lognormal(float(np.log(spec.mean)) - spec.sigma**2 / 2, spec.sigma))
    return max(spec.min, min(spec.max, length))

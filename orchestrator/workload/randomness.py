"""Random numbers of a run: streams by name, so that parts cannot disturb each other; lengths drawn from them."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .tokens import MOST_TOKENS


class Lengths(BaseModel):
    """How long prompts or answers are, in tokens.

    ``fixed`` always takes ``mean``; ``lognormal`` has that mean and the given sigma of the logarithm, ``uniform`` is
    spread evenly over mean x (1 - spread) to mean x (1 + spread). All are cut to [min, max].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    distribution: Literal["fixed", "lognormal", "uniform"] = Field(
        default="lognormal", description="shape of the lengths"
    )
    mean: float = Field(gt=0, le=MOST_TOKENS, allow_inf_nan=False, description="tokens, before they are cut")
    sigma: float = Field(default=0.8, ge=0, le=5, description="lognormal: of the logarithm")
    spread: float = Field(default=0.0, ge=0, lt=1, description="uniform: share of the mean to either side")
    min: int = Field(default=1, ge=1, le=MOST_TOKENS, description="tokens at least")
    max: int = Field(default=1_000_000, ge=1, le=MOST_TOKENS, description="tokens at most")

    @model_validator(mode="after")
    def _range(self) -> Lengths:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    @property
    def unused(self) -> list[str]:
        """What is given for another distribution."""
        of = {"sigma": "lognormal", "spread": "uniform"}
        unlike = [name for name, kind in of.items() if kind != self.distribution]
        return [name for name in unlike if getattr(self, name) != type(self).model_fields[name].default]

    def draw(self, random: np.random.Generator) -> int:
        if self.distribution == "fixed":
            length = round(self.mean)
        elif self.distribution == "uniform":
            low, high = int(self.mean * (1 - self.spread)), -int(-self.mean * (1 + self.spread) // 1)
            length = int(random.integers(low, high + 1))
        else:
            # The mean of a lognormal is exp(mu + sigma^2 / 2).
            length = round(random.lognormal(float(np.log(self.mean)) - self.sigma**2 / 2, self.sigma))
        return max(self.min, min(self.max, length))


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream of one part of the run."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))

"""Factors on times that were found by comparing a run with a real server's log (docs/calibrate.md)."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator, model_validator

from ..strict import Strict, did_you_mean

#: part of a step's time -> what its factor multiplies
PARTS: Mapping[str, str] = {
    "host": "the engine's own work on a step: its gap, the inputs of prompts, the host's step and each sequence of it",
    "api_server": "an API server's work on a request, a prompt's token and an output token",
    "gemm": "products of matrices on accelerators",
    "moe": "experts on accelerators",
    "decode_attention": "attention of steps that are decodes alone, on accelerators",
    "prompt_attention": "attention of steps with a prompt in them, their decodes included, on accelerators",
    "state": "state-space and linear-attention layers on accelerators",
    "other_kernels": "norms, element-wise layers, embeddings and samplers on accelerators",
    "link": "transfers and collectives of networks",
}
LEAST, MOST = 0.01, 100.0


class Calibration(Strict):
    """What times of parts are multiplied by; a part that is not named stays as it is."""

    factors: dict[str, float] = Field(min_length=1, description=f"by part: {', '.join(PARTS)}")
    intervals: dict[str, tuple[float, float]] = Field(default={}, description="of the factors, 95 %; for readers")
    source: str = Field(default="", description="what they were found on")

    @field_validator("factors")
    @classmethod
    def _sound(cls, factors: dict[str, float]) -> dict[str, float]:
        for name, factor in factors.items():
            _known(name)
            if not LEAST <= factor <= MOST:
                raise ValueError(f"{name} = {factor:g}: must be from {LEAST:g} to {MOST:g}")
        return factors

    @model_validator(mode="after")
    def _of_factors(self) -> Calibration:
        for name, (low, high) in self.intervals.items():
            if name not in self.factors:
                raise ValueError(f"intervals.{name}: there is no factor of that name")
            if not 0 <= low <= high:
                raise ValueError(f"intervals.{name} = [{low:g}, {high:g}]: must be [low, high], 0 <= low <= high")
        return self


def _known(name: str) -> None:
    if name not in PARTS:
        raise ValueError(f"there is no part '{name}'; {did_you_mean(name, PARTS)}known: {', '.join(PARTS)}")

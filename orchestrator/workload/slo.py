"""What a good request meets."""

from __future__ import annotations

from pydantic import Field

from ..strict import Strict


class Slo(Strict):
    """What a good request meets; goodput counts requests that meet all that is given."""

    ttft_ms: float | None = Field(default=None, gt=0)
    tpot_ms: float | None = Field(default=None, gt=0)
    e2el_ms: float | None = Field(default=None, gt=0)

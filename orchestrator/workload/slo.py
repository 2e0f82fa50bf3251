"""What a good request meets."""

from __future__ import annotations

from pydantic import Field

from ..strict import Strict


class Slo(Strict):
    """What a good request meets; goodput counts requests that meet all that is given."""

    ttft_ms: float | None = Field(default=None, gt=0, description="time to the first token, at most")
    tpot_ms: float | None = Field(default=None, gt=0, description="time per output token after the first, at most")
    e2el_ms: float | None = Field(default=None, gt=0, description="from arrival to the last token, at most")

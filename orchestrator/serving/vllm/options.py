"""vLLM's own flags."""

from __future__ import annotations

from pydantic import Field

from ..options import EngineOptions


class VllmOptions(EngineOptions):
    """The flags of `vllm serve`, by their names."""

    long_prefill_token_threshold: int = Field(default=0, ge=0, description="0 = no limit")
    enable_chunked_prefill: bool = True
    scheduler_reserve_full_isl: bool = True

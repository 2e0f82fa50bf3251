"""The flags of a release of vLLM."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..vllm.options import VllmOptions


class ReleaseOptions(VllmOptions):
    """Those of `vllm serve`, and whose scheduler it is."""

    scheduler: Literal["model", "real"] = Field(
        default="model", description="real: vLLM's own, in an environment of its own (docs/truth.md)"
    )

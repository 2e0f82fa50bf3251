"""The flags of a release of vLLM."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from ..vllm.options import VllmOptions

POLICIES = ("fcfs", "priority")  # of vLLM's own scheduler


class ReleaseOptions(VllmOptions):
    """Those of `vllm serve`, and whose scheduler it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"scheduler": {"const": "real"}}, "required": ["scheduler"]},
            "then": {"properties": {"scheduling_policy": {"enum": list(POLICIES)}}},
        }
    )

    scheduler: Literal["model", "real"] = Field(
        default="model", description="real: vLLM's own, in an environment of its own (docs/truth.md)"
    )

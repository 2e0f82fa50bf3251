"""Weights of an instance that are not on its devices."""

from __future__ import annotations

from pydantic import Field

from ..strict import Strict


class WeightOffloading(Strict):
    """Layers whose weights come from a memory in every step; what that frees on the devices is the KV cache's."""

    memory: str = Field(
        default="dram", description="dram, cxl or nvme of its own node; or one by name: n0.cxl, a pool of the cluster"
    )
    gib: float | None = Field(default=None, gt=0, description="of weights of layers a device; default: all of them")
    prefetch_step: int = Field(
        default=1,
        ge=0,
        description="layers that are fetched ahead, into buffers on the device; vLLM's offload_prefetch_step. 0: "
        "kernels read them in place, as with its cpu_offload_gb",
    )

"""Weights of an instance that are not on its devices."""

from __future__ import annotations

from pydantic import Field, model_validator

from ..strict import Strict


class WeightOffloading(Strict):
    """Layers whose weights come from a memory in every step, or experts that come when they are picked; what that frees
    on the devices is the KV cache's."""

    memory: str = Field(
        default="dram", description="dram, cxl or nvme of its own node; or one by name: n0.cxl, a pool of the cluster"
    )
    gib: float | None = Field(default=None, gt=0, description="of weights of layers a device; default: all of them")
    prefetch_step: int | None = Field(
        default=None,
        ge=0,
        description="layers that are fetched ahead, into buffers on the device; vLLM's offload_prefetch_step. 0: "
        "kernels read them in place, as with its cpu_offload_gb. Default: 1; none of experts",
    )
    cached_experts: int | None = Field(
        default=None,
        ge=1,
        description="experts of each layer that a device keeps, those picked last; the others come when they are "
        "picked. Instead of layers",
    )

    @model_validator(mode="after")
    def _layers_or_experts(self) -> WeightOffloading:
        given = [name for name in ("gib", "prefetch_step") if getattr(self, name) is not None]
        if self.cached_experts is not None and given:
            raise ValueError(f"cached_experts goes without {' and '.join(given)}: those are of whole layers")
        return self

    @property
    def layers_ahead(self) -> int:
        """Whole layers that are fetched ahead."""
        return 1 if self.prefetch_step is None else self.prefetch_step

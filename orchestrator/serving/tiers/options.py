"""What a scenario says of K and V off the devices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...strict import Strict
from ...units import MOST_GIB

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="letters, digits, - and _")]


class KvTier(Strict):
    """One place for K and V, nearest first."""

    name: Word = Field(description="unique among tiers")
    memory: str = Field(
        description="dram, cxl or nvme of each instance's own node; or one by name: n0.dram, a pool of the cluster"
    )
    shared_by: Literal["instance", "node", "cluster"] = Field(
        default="instance",
        description="who finds what others put there: a pool an instance, a node, or one in all",
    )
    size_gib: float | None = Field(
        default=None, ge=0, le=MOST_GIB, description="of each pool; default: all of the memory; 0: none"
    )
    eviction: str = Field(default="lru", description="what goes first: lru, lfu, session, priority, or module:Class")
    write: Literal["through", "back"] = Field(
        default="through", description="blocks go there when they are computed, or when a device lets them go"
    )
    store_threshold: int = Field(
        default=0, ge=0, description="blocks are kept there that requests have asked for so often; vLLM's word"
    )
    ttl_s: float | None = Field(
        default=None,
        gt=0,
        le=9e6,
        description="what nobody has computed or asked for so long is gone; default: never",
    )
    pin_sessions: bool = Field(
        default=False, description="what a session has there is not let go for others until its next turn has ended"
    )


class KvOffloading(Strict):
    """K and V off the devices."""

    backend: Literal["native", "lmcache"] = Field(
        default="native",
        description="whose rules: vLLM's own connector, or LMCache's (docs/memory.md); vLLM's word is "
        "kv_offloading_backend",
    )
    recall: Literal["async", "blocking", "layer"] | None = Field(
        default=None,
        description="a request waits while others go on; the whole step waits; each layer for its own. Default: async "
        "of native, blocking of lmcache",
    )
    chunk_blocks: int | None = Field(
        default=None, ge=1, description="KV blocks that are kept and found together; default: 1, of lmcache 256 tokens"
    )
    instances: list[str] = Field(default=[], description="those that use it; default: all that compute prompts")
    tiers: list[KvTier] = Field(min_length=1, description="nearest first")

    @model_validator(mode="after")
    def _possible(self) -> KvOffloading:
        names = [tier.name for tier in self.tiers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"tier name '{name}' is used twice; names must be unique")
        return self

    @property
    def way(self) -> str:
        """How K and V come back."""
        return self.recall or ("async" if self.backend == "native" else "blocking")

    def blocks(self, block_size: int) -> int:
        """KV blocks of so many tokens in a chunk; LMCache's chunks have 256 tokens unless told."""
        return self.chunk_blocks or (1 if self.backend == "native" else max(1, 256 // block_size))

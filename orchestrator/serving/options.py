"""The flags that every engine has, by vLLM's names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..strict import Strict


class EngineOptions(Strict):
    """One instance's engine; ``version`` chooses its rules and what its host work costs (docs/engines.md).

    Engines with flags of their own add them in a class derived from this one.
    """

    version: str = Field(default="vllm-0.19", description="the engine and its version: docs/engines.md")
    cold_start: bool = Field(default=False, description="nothing has been served yet: the first step warms up")
    api_server_count: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="HTTP servers before the engine, to the client and back; 0 = its Python API",
    )
    async_scheduling: bool | None = Field(default=None, description="default: the version's")
    max_num_seqs: int | None = Field(default=None, ge=1, description="default: by version and device")
    max_num_batched_tokens: int | None = Field(default=None, ge=1, description="default: by version and device")
    block_size: int = Field(default=16, ge=1, description="tokens a KV block")
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="share of the device memory that the engine may fill"
    )
    reserve_working_memory: bool = Field(
        default=True, description="activations, logits and context, as vLLM's profile run finds them"
    )
    num_gpu_blocks_override: int | None = Field(default=None, ge=1, description="KV blocks, whatever the memory holds")
    enable_prefix_caching: bool = Field(default=True, description="whether blocks are found again by their content")
    kv_cache_dtype: Literal[
        "auto", "bf16", "fp16", "fp32", "bfloat16", "float16", "half", "float32", "float", "fp8", "fp8_e4m3", "fp8_e5m2"
    ] = Field(default="auto", description="auto: the checkpoint's own if it names one, else the model's dtype")
    max_model_len: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        default=None, description="default: the model's own limit; auto: as much of it as the KV cache has room for"
    )
    all2all_backend: Literal["allgather_reducescatter", "deepep_high_throughput"] = Field(
        default="allgather_reducescatter", description="how tokens reach their experts in data-parallel ranks"
    )
    scheduling_policy: str = Field(
        default="fcfs",
        description="order of admission: fcfs, priority, shortest-job-first, deadline, or module:Class",
    )

    def sampled(self) -> str:
        """How tokens are chosen, where that is said; else "", as in the runs that the version's costs are of."""
        return ""

    def graph_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Tokens of the graphs that are captured for decode steps, ascending; ``sizes`` are the version's."""
        return sizes

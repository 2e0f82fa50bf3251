"""vLLM's own flags."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ...units import MOST_GIB
from ..options import EngineOptions

#: flags that vLLM has and this engine has not -> what would be wrong, or where it stands instead
ELSEWHERE = {
    "enforce_eager": "kernels launched one by one have not been measured",
    "speculative_config": "a step would give several tokens of a draft, and how many are accepted is not known",
    "enable_lora": "adapters take memory, and kernels of their own in every step",
    "max_loras": "adapters take memory, and kernels of their own in every step",
    "quantization": "it is a field of the instance, beside engine",
    "dtype": "it is a field of the instance, beside engine",
    "kv_transfer_config": "role of the instance and kv_transfer of the scenario say it",
}


class VllmOptions(EngineOptions):
    """The flags of `vllm serve`, by their names."""

    long_prefill_token_threshold: int = Field(default=0, ge=0, description="0 = no limit")
    enable_chunked_prefill: bool = Field(default=True, description="whether a long prompt is computed in parts")
    scheduler_reserve_full_isl: bool = Field(
        default=True, description="whether a request is admitted only if its whole prompt has room"
    )
    cudagraph_capture_sizes: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, min_length=1, description="tokens of decode steps that have a graph; default: the version's"
    )
    max_cudagraph_capture_size: int | None = Field(
        default=None, ge=1, description="the largest; default: the version's, at most twice max_num_seqs"
    )

    sampling: Literal["greedy", "top-p"] | None = Field(
        default=None,
        description="of all requests; top-p: by the version's kernels. Default: as in the version's own runs",
    )
    cpu_offload_gb: float = Field(
        default=0,
        ge=0,
        le=MOST_GIB,
        description="GiB of weights a device in its node's host memory; more by weight_offloading",
    )
    kv_offloading_size: float | None = Field(
        default=None,
        gt=0,
        le=MOST_GIB,
        description="GiB of its node's host memory for K and V; more by kv_offloading of the scenario",
    )
    kv_offloading_backend: Literal["native", "lmcache"] = Field(
        default="native", description="whose rules hold for kv_offloading_size"
    )

    @model_validator(mode="before")
    @classmethod
    def _simulated(cls, data: Any) -> Any:
        """A flag of vLLM's that would be ignored is refused with what ignoring it would do."""
        for name in ELSEWHERE if isinstance(data, dict) else ():
            if name in data:
                raise ValueError(f"{name} is no flag of the simulated engine: {ELSEWHERE[name]}")
        return data

    @model_validator(mode="after")
    def _one_largest(self) -> VllmOptions:
        sizes, most = self.cudagraph_capture_sizes, self.max_cudagraph_capture_size
        if sizes is not None and most is not None and most != max(sizes):
            raise ValueError(
                f"max_cudagraph_capture_size = {most}: must be the largest of cudagraph_capture_sizes, {max(sizes)}"
            )
        return self

    def sampled(self) -> str:
        return self.sampling or ""

    def graph_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """As ``VllmConfig._set_cudagraph_sizes`` (vllm/config/vllm.py, 0.19) finds them."""
        most = self.max_cudagraph_capture_size
        if self.cudagraph_capture_sizes is not None:
            sizes = tuple(sorted(set(self.cudagraph_capture_sizes)))
        elif most is not None:
            sizes = (1, 2, 4, *range(8, min(most + 1, 256), 8), *range(256, most + 1, 16))
        elif sizes and self.max_num_seqs is not None:  # twice as many, at most the version's largest
            most = min(2 * self.max_num_seqs, sizes[-1])
        else:
            return sizes
        return tuple(size for size in sizes if size <= min(most or sizes[-1], self.max_num_batched_tokens or sizes[-1]))

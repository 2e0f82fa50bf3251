"""vLLM's own flags."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ..options import EngineOptions


class VllmOptions(EngineOptions):
    """The flags of `vllm serve`, by their names."""

    long_prefill_token_threshold: int = Field(default=0, ge=0, description="0 = no limit")
    enable_chunked_prefill: bool = True
    scheduler_reserve_full_isl: bool = True
    cudagraph_capture_sizes: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None, min_length=1, description="tokens of decode steps that have a graph; default: the version's"
    )
    max_cudagraph_capture_size: int | None = Field(
        default=None, ge=1, description="the largest, in place of the version's"
    )

    @model_validator(mode="after")
    def _one_largest(self) -> VllmOptions:
        sizes, most = self.cudagraph_capture_sizes, self.max_cudagraph_capture_size
        if sizes is not None and most is not None and most != max(sizes):
            raise ValueError(
                f"max_cudagraph_capture_size = {most}: must be the largest of cudagraph_capture_sizes, {max(sizes)}"
            )
        return self

    def graph_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """As ``VllmConfig._set_cudagraph_sizes`` (vllm/config/vllm.py, 0.19) finds them."""
        most = self.max_cudagraph_capture_size
        if self.cudagraph_capture_sizes is not None:
            sizes = tuple(sorted(set(self.cudagraph_capture_sizes)))
        elif most is not None:
            sizes = (1, 2, 4, *range(8, min(most + 1, 256), 8), *range(256, most + 1, 16))
        else:
            return sizes
        return tuple(size for size in sizes if size <= min(most or sizes[-1], self.max_num_batched_tokens or sizes[-1]))

"""SGLang's flags, by its names and by those that all engines share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..options import EngineOptions
from ..spec import DeviceFacts

#: SGLang's name -> the one that all engines share
SHARED = {
    "page_size": "block_size",
    "max_running_requests": "max_num_seqs",
    "mem_fraction_static": "gpu_memory_utilization",
}
#: SGLang's name -> the shared one that says the contrary
DISABLING = {"disable_radix_cache": "enable_prefix_caching", "disable_overlap_schedule": "async_scheduling"}
#: flags of other engines that mean nothing here, and what does it instead
FOREIGN = {
    "max_num_batched_tokens": "chunked_prefill_size and max_prefill_tokens",
    "reserve_working_memory": "mem_fraction_static",
}
#: device memory below so many GiB -> (chunked_prefill_size, cuda_graph_max_bs below TP 4, and from there on)
BY_MEMORY = (
    (20, 2048, 8, 8),
    (35, 2048, 24, 80),
    (60, 4096, 32, 160),
    (160, 8192, 256, 512),
    (1 << 30, 16384, 512, 512),
)


class SglangOptions(EngineOptions):
    """The flags of `sglang.launch_server`."""

    version: str = Field(default="sglang-0.5.5", description="of the engine")
    block_size: int = Field(default=1, ge=1, description="page_size")
    gpu_memory_utilization: float = Field(
        default=0.0, ge=0, le=1, description="mem_fraction_static; 0 = by device, as SGLang reckons"
    )
    reserve_working_memory: bool = Field(
        default=False, description="beside the weights, in the static share; SGLang leaves it the rest of the memory"
    )
    schedule_policy: Literal["fcfs", "lpm", "lof", "random"] = Field(
        default="fcfs", description="who of the waiting is admitted first"
    )
    schedule_conservativeness: float = Field(
        default=1.0, ge=0, description="share of its longest answer that a request is admitted with, times this"
    )
    chunked_prefill_size: int | None = Field(default=None, description="-1 = no chunks; default: by device")
    max_prefill_tokens: int = Field(default=16384, ge=1, description="new tokens of prompts in a batch, at most")

    cuda_graph_bs: list[Annotated[int, Field(ge=1)]] | None = Field(
        default=None,
        min_length=1,
        description="sequences of decodes that have a graph; default: up to cuda_graph_max_bs",
    )
    cuda_graph_max_bs: int | None = Field(default=None, ge=1, description="the largest; default: by device and ranks")
    disable_cuda_graph_padding: bool = Field(
        default=False, description="a graph for every number of sequences up to cuda_graph_max_bs"
    )

    @model_validator(mode="before")
    @classmethod
    def _names(cls, data: Any) -> Any:
        """SGLang's names in place of the shared ones; what another engine's flag would do is refused."""
        if not isinstance(data, dict):
            return data
        for name, instead in FOREIGN.items():
            if data.get(name) not in (None, False):  # a scenario written out in full has them, unset
                raise ValueError(f"{name} is no flag of SGLang: {instead} decides")
        found = dict(data)
        for name, shared in {**SHARED, **DISABLING}.items():
            if name not in found:
                continue
            if shared in found:
                raise ValueError(f"{name} and {shared} say the same thing: give one")
            value = found.pop(name)
            if name in DISABLING and not isinstance(value, bool):
                raise ValueError(f"{name} = {value!r}: must be true or false")
            found[shared] = not value if name in DISABLING else value
        return found

    @model_validator(mode="after")
    def _possible(self) -> SglangOptions:
        if self.chunked_prefill_size is not None and self.chunked_prefill_size < 1 and self.chunked_prefill_size != -1:
            raise ValueError("chunked_prefill_size: must be at least 1, or -1 for no chunks")
        if self.scheduling_policy != "fcfs" and self.schedule_policy != "fcfs":
            raise ValueError("scheduling_policy orders admission in place of schedule_policy: give one")
        sizes = sorted(set(self.cuda_graph_bs or ()))
        if sizes and self.cuda_graph_max_bs not in (None, sizes[-1]):
            allowed = f"must be the largest of cuda_graph_bs, {sizes[-1]}"
            raise ValueError(f"cuda_graph_max_bs = {self.cuda_graph_max_bs}: {allowed}")
        if sizes and self.disable_cuda_graph_padding and sizes != list(range(1, sizes[-1] + 1)):
            allowed = "others would run without a graph, which has not been measured"
            raise ValueError(
                f"disable_cuda_graph_padding needs all numbers up to the largest in cuda_graph_bs: {allowed}"
            )
        return self

    def graph_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """As ``ServerArgs._generate_cuda_graph_batch_sizes`` and ``get_batch_sizes_to_capture`` of its
        cuda_graph_runner.py (0.5.5) find them; its pool of requests has ``max_running_requests`` places."""
        most = self.cuda_graph_max_bs or max(sizes)
        found = {size for size in sizes if size <= most}
        if self.cuda_graph_bs is not None:
            found = set(self.cuda_graph_bs)
        elif self.disable_cuda_graph_padding:
            found = set(range(1, most + 1))
        if self.max_num_seqs is not None and max(found) > self.max_num_seqs:
            found = {size for size in found if size <= self.max_num_seqs} | {self.max_num_seqs}
        return tuple(sorted(found))


def resolve(options: EngineOptions, device: DeviceFacts) -> EngineOptions:
    """The flags with nothing left open, as ``ServerArgs._handle_gpu_memory_settings`` (0.5.5) has them.

    What weights and K and V leave of the memory is 512 MiB, 1.5 MiB a token of a chunk, 2 MiB a sequence of the
    largest graph and 128 MiB a rank; on devices of more than 60 GiB at least 10 GiB.
    """
    if not isinstance(options, SglangOptions):
        raise TypeError(options)
    gib = device.memory_bytes / 2**30
    chunk, small, large = next(row[1:] for row in BY_MEMORY if gib < row[0])
    graph = small if device.ranks < 4 else large
    if options.cuda_graph_bs is not None or options.cuda_graph_max_bs is not None:
        graph = max(options.cuda_graph_bs or [options.cuda_graph_max_bs or 0])
    size = chunk if options.chunked_prefill_size is None else options.chunked_prefill_size
    activations = max(size if size > 0 else options.max_prefill_tokens, 2048) * 1.5
    reserved = 512 + activations + 2 * graph + device.ranks / 8 * 1024
    if gib > 60:
        reserved = max(reserved, 10 * 1024)
    fraction = options.gpu_memory_utilization or round((gib * 1024 - reserved) / (gib * 1024), 3)
    return options.model_copy(
        update={
            "chunked_prefill_size": size if size > 0 else None,
            "cuda_graph_max_bs": graph,
            "gpu_memory_utilization": fraction,
            "max_num_batched_tokens": size if size > 0 else options.max_prefill_tokens,
        }
    )

"""The scenario file: one YAML document that says what is simulated. `metronome validate --schema`
prints it as JSON Schema for editors. Field names are vLLM's and Hugging Face's where they have one."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from ..workload.synthetic import Synthetic
from .base import Part

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="letters, digits, - and _")]


class LLMServingSimWorkload(Part):
    """An LLMServingSim JSONL file, flat or agentic; ``path`` is relative to the scenario."""

    format: Literal["llmservingsim"]
    path: str
    limit: int | None = Field(default=None, ge=1, description="read this many lines")


Workload = Annotated[LLMServingSimWorkload | Synthetic, Field(discriminator="format")]


class Accelerators(Part):
    """``count`` equal devices of a node; ``type`` names a catalog device unless all is given."""

    type: str
    count: int = Field(ge=1)
    memory_gib: float | None = Field(default=None, gt=0, description="of one device; default: the catalog's")


class Dram(Part):
    """Host memory of a node."""

    size_gib: float = Field(gt=0)
    bandwidth_gb_s: float = Field(gt=0, description="decimal gigabytes a second")
    latency_ns: float = Field(default=0, ge=0)
    energy_pj_per_bit: float | None = Field(default=None, ge=0)


class NodeMemory(Part):
    """Memories of a node beside its accelerators' own."""

    dram: Dram | None = None


class NodePower(Part):
    """Power a node draws whatever it does, accelerators apart."""

    base_w: float = Field(default=0, ge=0)


class Node(Part):
    """One server."""

    name: Name
    accelerators: Accelerators
    memory: NodeMemory = NodeMemory()
    power: NodePower = NodePower()


class Network(Part):
    """One interconnect; bandwidth is per device and direction."""

    name: Name
    connects: list[str] = Field(min_length=1, description="accelerator groups, e.g. n0.accelerators")
    topology: Literal["switch", "ring", "fully-connected"] = "switch"
    bandwidth_gb_s: float = Field(gt=0, description="decimal gigabytes a second")
    latency_ns: float = Field(ge=0)
    energy_pj_per_bit: float | None = Field(default=None, ge=0)


class Cluster(Part):
    """The hardware."""

    nodes: list[Node] = Field(min_length=1)
    networks: list[Network] = []

    @model_validator(mode="after")
    def _names(self) -> Cluster:
        _unique("node", [node.name for node in self.nodes])
        _unique("network", [network.name for network in self.networks])
        groups = {f"{node.name}.accelerators" for node in self.nodes}
        for network in self.networks:
            for group in network.connects:
                if group not in groups:
                    raise ValueError(
                        f"network {network.name} connects '{group}'; there are {', '.join(sorted(groups))}"
                    )
        return self


class EngineOptions(Part):
    """The flags of `vllm serve`, by their names; ``version`` chooses what host work costs."""

    version: Literal["vllm-0.19", "ideal"] = "vllm-0.19"
    max_num_seqs: int = Field(default=256, ge=1)
    max_num_batched_tokens: int = Field(default=8192, ge=1)
    long_prefill_token_threshold: int = Field(default=0, ge=0, description="0 = no limit")
    block_size: int = Field(default=16, ge=1)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    num_gpu_blocks_override: int | None = Field(default=None, ge=1)
    enable_chunked_prefill: bool = True
    enable_prefix_caching: bool = True
    scheduler_reserve_full_isl: bool = True
    kv_cache_dtype: Literal["auto", "bf16", "fp16", "fp8", "fp32"] = "auto"
    max_model_len: int | None = Field(default=None, ge=1, description="default: the model's own limit")


SELECTION = re.compile(r"^(?P<node>[A-Za-z0-9][A-Za-z0-9_-]*)\[(?P<first>\d+)(:(?P<end>\d+))?\]$")


class Instance(Part):
    """One served copy of a model."""

    name: Name
    model: str
    role: Literal["both"] = "both"
    accelerators: str = Field(description="e.g. n0[0:4], or n0[3]")
    tensor_parallel_size: int | None = Field(default=None, ge=1, description="default: all its accelerators")
    dtype: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    engine: EngineOptions = EngineOptions()

    @field_validator("accelerators")
    @classmethod
    def _selection(cls, text: str) -> str:
        if not SELECTION.match(text):
            raise ValueError("must be NODE[FIRST:END] or NODE[INDEX], e.g. n0[0:4]")
        return text

    @property
    def devices(self) -> tuple[str, int, int]:
        """(node, first, end)."""
        match = SELECTION.match(self.accelerators)
        if match is None:
            raise ValueError(self.accelerators)
        first = int(match["first"])
        return match["node"], first, int(match["end"] or first + 1)


class RouterOptions(Part):
    """How requests find an instance."""

    policy: Literal["round-robin", "random", "least-loaded"] = "least-loaded"


class ComponentOptions(Part):
    """Who answers for one piece of hardware; further keys are the model's own configuration."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    model: str | None = None
    run: Literal["inprocess", "process"] = "inprocess"
    timeout_s: float = Field(default=60, gt=0, description="longest silence while it owes an answer")
    start_timeout_s: float = Field(default=30, gt=0)

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class Slo(Part):
    """What a good request meets; goodput counts requests that meet all that is given."""

    ttft_ms: float | None = Field(default=None, gt=0)
    tpot_ms: float | None = Field(default=None, gt=0)
    e2el_ms: float | None = Field(default=None, gt=0)


class Scenario(Part):
    """A whole run."""

    name: str = "scenario"
    seed: int = Field(default=0, ge=0, lt=2**63)
    workload: Workload
    cluster: Cluster
    instances: list[Instance] = Field(min_length=1)
    router: RouterOptions = RouterOptions()
    components: dict[str, ComponentOptions] = {}
    slo: Slo = Slo()

    @model_validator(mode="after")
    def _references(self) -> Scenario:
        _unique("instance", [instance.name for instance in self.instances])
        nodes = {node.name: node for node in self.cluster.nodes}
        taken: dict[tuple[str, int], str] = {}
        for i, instance in enumerate(self.instances):
            node, first, end = instance.devices
            spot = f"instances.{i}.accelerators = {instance.accelerators!r}"
            if node not in nodes:
                raise ValueError(f"{spot}: no node '{node}'; there are {', '.join(nodes)}")
            count = nodes[node].accelerators.count
            if not first < end <= count:
                raise ValueError(f"{spot}: node {node} has accelerators 0 to {count - 1}")
            for device in range(first, end):
                other = taken.setdefault((node, device), instance.name)
                if other != instance.name:
                    raise ValueError(f"{spot}: {node}[{device}] already serves instance '{other}'")
            tp = instance.tensor_parallel_size
            if tp is not None and tp != end - first:
                raise ValueError(
                    f"instances.{i}.tensor_parallel_size = {tp}: needs that many accelerators, it has {end - first}"
                )
        return self


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} name '{name}' is used twice; names must be unique")

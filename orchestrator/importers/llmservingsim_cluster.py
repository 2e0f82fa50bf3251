"""What the importer knows of an LLMServingSim cluster config: keys, types, what is refused, counts that must agree."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from ..errors import InputError
from ..strict import Strict

Count = Annotated[int, Field(ge=1, le=2**31)]
Amount = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Flag = bool | None
#: keys, theirs and their forks', of what is not simulated -> what would be wrong without it; false and null are none
REFUSED = {
    "pim_config": "attention's time would be from a table of theirs; `memory.pim` of a scenario has a model",
    "enable_local_offloading": "weights come from host memory in every step",
    "enable_attn_offloading": "attention of decodes is done by memory that computes",
    "enable_sub_batch_interleaving": "a step is two that overlap",
    "tp_hardware": "ranks of one instance are on unlike devices",
    "hbf_mem": "flash beside the device's memory holds weights or K and V",
}


class _Typed(Strict):
    """Keys are known ones; numbers are finite and no text is one. A key that begins with _ is a remark."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _simulated(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for key, why in REFUSED.items():
            if data.get(key) not in (None, False):
                raise ValueError(f"{key} is refused: {why}")
        return {key: value for key, value in data.items() if key not in REFUSED and not str(key).startswith("_")}


class DeviceMemory(_Typed):
    """``mem_bw`` and ``mem_latency`` are in the profile's times."""

    mem_size: Annotated[float, Field(gt=0)]
    mem_bw: Amount | None = None
    mem_latency: Amount | None = None
    mem_util: Annotated[float, Field(gt=0, le=1)] | None = None


class Where(_Typed):
    """npu, cpu, or cxl:N. Evicted K and V are computed again here, as in vLLM, wherever they go there."""

    weights: str | None = None
    kv_loc: str | None = None
    kv_evict_loc: Annotated[str, Field(pattern=r"^(npu|cpu|cxl:\d+)$")] | None = None


class Blocks(Where):
    """Of the blocks of layers that ``blocks`` counts (0-3,5) what differs from the default."""

    blocks: str | int = ""


class Placement(_Typed):
    """Rules for layers by name go before those for blocks, these before the default."""

    default: Where = Where()
    blocks: list[Blocks] | None = None
    layers: dict[str, Where] | None = None

    def rules(self) -> dict[str, Where]:
        """Those of blocks and of layers, by where they stand."""
        blocks = {f"blocks[{i}]": rule for i, rule in enumerate(self.blocks or ())}
        return {**blocks, **{f"layers.{name}": rule for name, rule in (self.layers or {}).items()}}


class CxlMemory(_Typed):
    """``mem_size`` is of one device."""

    mem_size: Annotated[float, Field(gt=0)]
    mem_bw: Annotated[float, Field(gt=0)]
    mem_latency: Amount
    num_devices: Count = 1


class Instance(_Typed):
    """``enable_block_copy`` is how their traces are written."""

    model_name: Text | None = None
    hardware: Text | None = None
    npu_mem: DeviceMemory | None = None
    num_npus: Count | None = None
    npu_num: Count | None = None
    npu_group: Count | None = None
    tp_size: Count | None = None
    pp_size: Count | None = None
    ep_size: Count | None = None
    dp_group: int | Text | None = None
    pd_type: Literal["prefill", "decode"] | None = None
    dtype: str | None = None
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    long_prefill_token_threshold: int | None = None
    block_size: Count | None = None
    kv_cache_dtype: str | None = None
    enable_chunked_prefill: Flag = None
    enable_prefix_caching: Flag = None
    reserve_full_isl: Flag = None
    enable_block_copy: Flag = None
    placement: Placement | None = None


class HostMemory(_Typed):
    mem_size: Amount | None = None
    mem_bw: Amount | None = None
    mem_latency: Amount | None = None


class DevicePower(_Typed):
    idle_power: Amount
    active_power: Amount
    standby_power: Amount | None = None
    standby_duration: Amount = 0  # seconds, whatever their page says


class CpuPower(_Typed):
    idle_power: Amount = 0
    active_power: Amount = 0
    util: Annotated[float, Field(ge=0, le=1)] = 0


class DramPower(_Typed):
    dimm_size: Annotated[float, Field(gt=0)] | None = None
    idle_power: Amount = 0
    energy_per_bit: Amount | None = None


class LinkPower(_Typed):
    num_links: int = Field(default=0, ge=0)
    idle_power: Amount = 0
    energy_per_bit: Amount | None = None


class NicPower(_Typed):
    num_nics: int = Field(default=0, ge=0)
    idle_power: Amount = 0


class StoragePower(_Typed):
    num_devices: int = Field(default=0, ge=0)
    idle_power: Amount = 0


class Power(_Typed):
    base_node_power: Amount = 0
    npu: dict[str, DevicePower] = {}
    cpu: CpuPower = CpuPower()
    dram: DramPower = DramPower()
    link: LinkPower = LinkPower()
    nic: NicPower = NicPower()
    storage: StoragePower = StoragePower()


class Node(_Typed):
    num_instances: Count | None = None
    instances: list[Instance] = Field(min_length=1)
    cpu_mem: HostMemory = HostMemory()
    power: Power | None = None

    @model_validator(mode="after")
    def _counted(self) -> Node:
        _agree("num_instances", self.num_instances, len(self.instances))
        return self


class Cluster(_Typed):
    num_nodes: Count | None = None
    nodes: list[Node] = Field(min_length=1)
    link_bw: Amount | list[Amount]
    link_latency: Amount | list[Amount]
    cxl_mem: CxlMemory | None = None

    @model_validator(mode="after")
    def _counted(self) -> Cluster:
        _agree("num_nodes", self.num_nodes, len(self.nodes))
        return self


def without_effect(cluster: Cluster) -> list[str]:
    """What a reader should know of keys that are taken and change nothing."""
    parts = [part for node in cluster.nodes for part in node.instances]
    memories = [part.npu_mem for part in parts if part.npu_mem]
    said = {
        "npu_mem.mem_bw: it is in the profile's times": any(one.mem_bw for one in memories),
        "npu_mem.mem_latency: it is in the profile's times": any(one.mem_latency for one in memories),
        "enable_block_copy: it is how their traces are written": any(part.enable_block_copy for part in parts),
    }
    evicted = {part.placement.default.kv_evict_loc for part in parts if part.placement} - {None, "npu"}
    if any(part.placement and part.placement.rules() for part in parts):
        said["placement.blocks, layers: they say what placement.default says, or where evicted K and V go"] = True
    for place in sorted(map(str, evicted)):
        said[f"placement.default.kv_evict_loc {place}: evicted K and V are computed again, as in vLLM"] = True
    return [f"without effect: {text}" for text, there in said.items() if there]


def _agree(field: str, said: int | None, there: int) -> None:
    if said not in (None, there):
        raise ValueError(f"{field} = {said}: there are {there}")


def check(where: str, data: dict[str, Any]) -> Cluster:
    """The cluster. Raises InputError for the first key that is unknown, refused, or of another type."""
    try:
        return Cluster.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        value = first.get("input")
        shown = None if first["type"] == "missing" or isinstance(value, dict | list) else value
        loc = [str(part) for part in first["loc"] if not str(part).startswith(("constrained-", "list["))]
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(where, ".".join(loc) or "cluster config", shown, message) from None

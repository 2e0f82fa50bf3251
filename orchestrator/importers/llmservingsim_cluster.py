"""The types of what the importer reads of an LLMServingSim cluster config. Which values can be done, it says itself."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import InputError

Count = Annotated[int, Field(ge=1, le=2**31)]
Amount = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Typed(BaseModel):
    """Further fields are not ours to judge; numbers are finite and no text is one."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class DeviceMemory(_Typed):
    mem_size: Amount
    mem_util: Amount | None = None


class Instance(_Typed):
    model_name: Text | None = None
    hardware: Text | None = None
    npu_mem: DeviceMemory | None = None
    num_npus: Count | None = None
    npu_num: Count | None = None
    npu_group: Count | None = None
    tp_size: Count | None = None
    pp_size: Count | None = None
    ep_size: Count | None = None
    dp_group: int | str | None = None
    pd_type: str | None = None
    dtype: str | None = None


class HostMemory(_Typed):
    mem_size: Amount | None = None
    mem_bw: Amount | None = None
    mem_latency: Amount | None = None


class DevicePower(_Typed):
    idle_power: Amount
    active_power: Amount


class DramPower(_Typed):
    energy_per_bit: Amount | None = None


class Power(_Typed):
    base_node_power: Amount = 0
    npu: dict[str, DevicePower] = {}
    dram: DramPower = DramPower()


class Node(_Typed):
    instances: list[Instance] = []
    cpu_mem: HostMemory = HostMemory()
    power: Power | None = None


class Cluster(_Typed):
    nodes: list[Node] = []


def check(where: str, data: dict[str, Any]) -> None:
    """Raises InputError for the first field that is of another type."""
    try:
        Cluster.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        value = first.get("input")
        shown = None if first["type"] == "missing" or isinstance(value, dict | list) else value
        raise InputError(where, ".".join(map(str, first["loc"])), shown, first["msg"]) from None

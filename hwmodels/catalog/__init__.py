"""Devices, interconnects and models as data: datasheet figures and architecture facts, each with its source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..interface import DTYPE_BYTES
from .families import Chip, Kernels
from .torus import Torus


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator by its datasheet.

    Attributes:
        flops: peak dense FLOP/s by dtype.
        memory_bandwidth: bytes/s. memory_bytes: device memory in bytes.
        compute_efficiency, memory_efficiency: share of the peaks large kernels reach.
        launch_overhead_ns: the shortest a kernel takes.
        idle_w, standby_w, active_w: watts of one device that nobody uses, that is awake with nothing to do, and the
            most it may draw. standby_s: how long it stays awake after work; None as long as somebody has it.
        busy_w, pj_per_byte, pj_per_flop: what a kernel draws, before the bytes of memory it moves and the FLOPs of 16
            bits it does, and what each of these takes; without ``busy_w`` all kernels draw ``active_w``.
        sources: where each figure comes from.
        chip: its insides, if it is a GPU whose kernels are known by family.
        compute_capability: NVIDIA's, or HIP's of a GPU of AMD's; None where that is not known, or it is no GPU.
        platform: what vLLM runs on there, "cuda", "rocm" or "tpu"; "" where that is not known.
        interconnect: of the catalog, which usually joins those of a node; "" where there is no one way.
    """

    name: str
    flops: dict[str, float]
    memory_bandwidth: float
    memory_bytes: int
    compute_efficiency: float
    memory_efficiency: float
    launch_overhead_ns: float
    idle_w: float
    active_w: float
    sources: dict[str, str]
    chip: Chip | None = None
    standby_w: float = 0
    standby_s: float | None = None
    busy_w: float | None = None
    pj_per_byte: float = 0
    pj_per_flop: float = 0
    compute_capability: float | None = None
    platform: str = ""
    interconnect: str = ""


@dataclass(frozen=True, slots=True)
class PeerAccess:
    """All-reduce by kernels that read their peers' memory, as inference engines bring along.

    Attributes:
        bandwidth: bytes/s that a device reads. step_ns: one exchange: start, barrier, reads.
        most_ranks, most_bytes: beyond these the engine leaves it to the collective library.
    """

    bandwidth: float
    step_ns: float
    most_ranks: int
    most_bytes: int


@dataclass(frozen=True, slots=True)
class Interconnect:
    """One kind of link between devices, with what a collective library adds on it.

    Attributes:
        bandwidth: bytes/s that large transfers reach, per device and direction.
        launch_ns: from the call to the first byte. bulk_launch_ns: what the full-rate protocol adds.
        hop_ns, bulk_hop_ns: one step between two devices, by the low-latency and the full-rate protocol.
        low_latency_share: share of the bandwidth that the low-latency protocol reaches.
        switch_ns: each switch beyond the first on a path.
        root_share: share of the line rate between devices that meet only at the host bridge (PCIe).
        local_copy: bytes/s at which a rank copies its own share; None where that is not seen.
        in_network: (bytes/s, ns) of an all-reduce done by the switch; None if it cannot.
        peer_access: all-reduce without the collective library; None if that is not known.
        host_path: (bytes/s, devices) of the way from so many devices to their adapter; None if it is no limit.
        error: how far off collectives over it are: P90 where they were measured, wider where figures are assumed.
        sources: where each figure comes from.
        host_bandwidth: bytes/s of copies between a device and its host's memory; None where they are as others.
        links: of a device, each to another one; None where all its bandwidth goes into a switch.
        torus: of links to neighbours alone, how they are laid out; else None.
    """

    name: str
    bandwidth: float
    launch_ns: float
    bulk_launch_ns: float
    hop_ns: float
    bulk_hop_ns: float
    low_latency_share: float
    switch_ns: float
    root_bandwidth: float | None
    local_copy: float | None
    in_network: tuple[float, float] | None
    peer_access: PeerAccess | None
    host_path: tuple[float, int] | None
    error: float
    sources: dict[str, str]
    host_bandwidth: float | None = None
    links: int | None = None
    torus: Torus | None = None


def node_links(kind: str) -> dict[str, str]:
    """A network of devices of one node over such links: what they are, and how they meet."""
    if interconnect(kind).links:
        return {"type": kind, "topology": "torus" if interconnect(kind).torus else "fully-connected"}
    return {"type": kind, "topology": "pcie" if kind.startswith("pcie") else "switch"}


def interconnect_names() -> list[str]:
    return names("interconnects")


@cache
def interconnect(name: str) -> Interconnect:
    """The interconnect of that name; KeyError if the catalog has none."""
    found = facts("interconnects", name)
    line = found["line_rate_gb_s"] * 1e9
    copy, sharp, path = found.get("local_copy_gb_s"), found.get("in_network"), found.get("host_path")
    peers = found.get("peer_access")
    return Interconnect(
        name=name,
        bandwidth=line * found["efficiency"],
        launch_ns=found["launch_ns"],
        bulk_launch_ns=found["bulk_launch_ns"],
        hop_ns=found["hop_ns"],
        bulk_hop_ns=found["bulk_hop_ns"],
        low_latency_share=found["low_latency_share"],
        switch_ns=found.get("switch_ns", 0),
        root_bandwidth=line * found["root_share"] if "root_share" in found else None,
        local_copy=copy * 1e9 if copy else None,
        in_network=(sharp["bandwidth_gb_s"] * 1e9, sharp["latency_ns"]) if sharp else None,
        peer_access=PeerAccess(
            peers["bandwidth_gb_s"] * 1e9, peers["step_ns"], peers["most_ranks"], peers["most_mib"] * 2**20
        )
        if peers
        else None,
        host_path=(path["bandwidth_gb_s"] * 1e9, path["devices"]) if path else None,
        error=found["error"],
        sources=found["sources"],
        host_bandwidth=line * found["host_share"] if "host_share" in found else None,
        links=found.get("links"),
        torus=Torus.of(found.get("torus")),
    )


def names(kind: str) -> list[str]:
    """Of a folder of the catalog: devices, drams, interconnects, kernels, pims."""
    return sorted(
        f.name.removesuffix(".yaml") for f in files(__name__).joinpath(kind).iterdir() if f.name.endswith(".yaml")
    )


def facts(kind: str, name: str) -> dict[str, Any]:
    """The content of a catalog file; KeyError if there is none."""
    if name not in names(kind):
        raise KeyError(name)
    text = files(__name__).joinpath(kind, f"{name}.yaml").read_text()
    found: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def device_names() -> list[str]:
    return names("devices")


class DeviceFacts(BaseModel):
    """A device as a catalog file or a scenario's ``devices`` states it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tflops: dict[str, Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description=f"peak dense TFLOP/s by dtype: {', '.join(DTYPE_BYTES)}"
    )
    memory_bandwidth_gb_s: float = Field(gt=0, description="decimal gigabytes a second")
    memory_gib: float = Field(gt=0, le=1e9, description="of one device")
    usable_gib: float | None = Field(default=None, gt=0, le=1e9, description="what CUDA reports; default: memory_gib")
    compute_efficiency: float = Field(default=0.7, gt=0, le=1, description="share of the peak large kernels reach")
    memory_efficiency: float = Field(default=0.8, gt=0, le=1, description="share of the bandwidth they reach")
    launch_overhead_ns: float = Field(default=5000, ge=0, description="the shortest a kernel takes")
    compute_capability: float | None = Field(
        default=None, gt=0, description="NVIDIA's, e.g. 9.0: says which formats of weights vLLM serves there"
    )
    platform: Literal["cuda", "rocm", "tpu"] | None = Field(
        default=None,
        description="what vLLM runs on there; default: cuda with a compute_capability, which on rocm is HIP's",
    )
    idle_w: float = Field(default=0, ge=0, description="of one device that nobody uses")
    standby_w: float | None = Field(default=None, ge=0, description="awake with nothing to do; default: idle_w")
    standby_s: float | None = Field(default=None, ge=0, description="awake after work for; default: while in use")
    busy_w: float | None = Field(
        default=None, ge=0, description="of any kernel, before bytes and FLOPs; default: active_w"
    )
    pj_per_byte: float = Field(default=0, ge=0, description="of memory, moved by a kernel; above busy_w")
    pj_per_flop: float = Field(default=0, ge=0, description="in 16 bits; in others by their width; above busy_w")
    active_w: float = Field(default=0, ge=0, description="the most one device draws: the board's limit")
    usd_per_hour: float | None = Field(
        default=None, ge=0, description="of one device, where `sweep`, `capacity` and `plan` are given no price"
    )
    interconnect: str | None = Field(
        default=None, description="of the catalog, e.g. nvlink4: joins those of a node where no network says another"
    )
    chip: Chip | None = Field(default=None, description="insides of a GPU whose kernels are known by family")
    sources: dict[str, str] = Field(default={}, description="where figures are from, by field")

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        for key in data if isinstance(data, dict) else ():
            if key not in cls.model_fields:
                near = get_close_matches(str(key), list(cls.model_fields), 1)
                guess = f"did you mean '{near[0]}'? " if near else ""
                raise ValueError(f"unknown key '{key}'; {guess}known: {', '.join(cls.model_fields)}")
        return data

    @model_validator(mode="after")
    def _usable(self) -> DeviceFacts:
        if self.usable_gib is not None and self.usable_gib > self.memory_gib:
            raise ValueError(f"usable_gib {self.usable_gib:g} is above memory_gib {self.memory_gib:g}")
        return self

    @field_validator("tflops")
    @classmethod
    def _dtypes(cls, value: dict[str, float]) -> dict[str, float]:
        for dtype in value:
            if dtype not in DTYPE_BYTES:
                raise ValueError(f"'{dtype}' is none of {', '.join(DTYPE_BYTES)}")
        return value

    @model_validator(mode="after")
    def _watts(self) -> DeviceFacts:
        states = [self.idle_w, self.standby_w, self.busy_w, self.active_w]
        known = [watts for watts in states if watts is not None]
        if known != sorted(known):
            raise ValueError("idle_w, standby_w, busy_w, active_w: none may be below the one before it")
        if self.busy_w is None and (self.pj_per_byte or self.pj_per_flop):
            raise ValueError("pj_per_byte and pj_per_flop come on top of busy_w, which is missing")
        return self

    @field_validator("interconnect")
    @classmethod
    def _joined(cls, value: str | None) -> str | None:
        if value is not None and value not in interconnect_names():
            raise ValueError(f"'{value}' is not in the catalog: {', '.join(interconnect_names())}")
        return value

    @field_validator("chip")
    @classmethod
    def _generation(cls, value: Chip | None) -> Chip | None:
        if value is not None and value.generation not in generation_names():
            raise ValueError(f"generation '{value.generation}' is none of {', '.join(generation_names())}")
        return value

    def device(self, name: str) -> Device:
        return Device(
            name=name,
            flops={dtype: tera * 1e12 for dtype, tera in self.tflops.items()},
            memory_bandwidth=self.memory_bandwidth_gb_s * 1e9,
            memory_bytes=int((self.usable_gib or self.memory_gib) * 2**30),
            compute_efficiency=self.compute_efficiency,
            memory_efficiency=self.memory_efficiency,
            launch_overhead_ns=self.launch_overhead_ns,
            idle_w=self.idle_w,
            active_w=self.active_w,
            sources=self.sources,
            chip=self.chip,
            standby_w=self.idle_w if self.standby_w is None else self.standby_w,
            standby_s=self.standby_s,
            busy_w=self.busy_w,
            pj_per_byte=self.pj_per_byte,
            pj_per_flop=self.pj_per_flop,
            compute_capability=self.compute_capability,
            interconnect=self.interconnect or "",
            platform=self.platform or ("cuda" if self.compute_capability is not None else ""),
        )


def generation_names() -> list[str]:
    """GPU generations whose kernels are known by family."""
    return names("kernels")


@cache
def kernels(generation: str) -> Kernels:
    """The kernels of a generation; KeyError if the catalog has none."""
    return Kernels.model_validate(facts("kernels", generation))


#: what devices are also called, also by nvidia-smi; what has another memory or board is not among them
ALIASES = {
    "a100": "a100-80g-sxm",
    "a100-80gb": "a100-80g-sxm",
    "a100-sxm": "a100-80g-sxm",
    "a100-sxm4-80gb": "a100-80g-sxm",
    "h100": "h100-sxm",
    "h100-80gb": "h100-sxm",
    "h100-80gb-hbm3": "h100-sxm",
    "h100-sxm5": "h100-sxm",
    "h200-sxm": "h200",
    "b200-sxm": "b200",
    "b300-sxm": "b300",
    "b300-sxm6-ac": "b300",
    "gh200-480gb": "gh200",  # of its host's memory
    "tesla-t4": "t4",
    "v100": "v100-32g-sxm",
    "v100-sxm2-32gb": "v100-32g-sxm",
    "tesla-v100": "v100-32g-sxm",
    "tesla-v100-sxm2-32gb": "v100-32g-sxm",
    "rtx4090": "rtx-4090",
    "geforce-rtx-4090": "rtx-4090",
    "rtx5090": "rtx-5090",
    "geforce-rtx-5090": "rtx-5090",
    "rtx-pro-6000-blackwell-server-edition": "rtx-pro-6000",
    "a6000": "rtx-a6000",
    "gaudi-2": "gaudi2",
    "gaudi-3": "gaudi3",
    "trn2": "trainium2",
    "inf2": "inferentia2",
    "ironwood": "tpu-v7",
    "trillium": "tpu-v6e",
}


def canonical(name: str) -> str | None:
    """The catalog's name of a device, whatever its case, with blanks or underscores; None if there is none."""
    plain = name.lower().replace("_", "-").replace(" ", "-").removeprefix("nvidia-").removeprefix("amd-")
    plain = ALIASES.get(plain, plain)
    return plain if plain in device_names() else None


@cache
def device(name: str) -> Device:
    """The device of that name, as `canonical` reads it; KeyError says what there is, the nearest names first."""
    found = canonical(name)
    if found is None:
        near = get_close_matches(name.lower(), [*device_names(), *ALIASES], 2)
        guess = f"did you mean {' or '.join(near)}? " if near else ""
        raise KeyError(f"{guess}a catalog device: {', '.join(device_names())}")
    return DeviceFacts.model_validate(facts("devices", found)).device(found)


def model_names() -> list[str]:
    """Bundled models by their Hugging Face names (``org/name``)."""
    root = files(__name__).joinpath("models")
    return sorted(
        f"{org.name}/{f.name.removesuffix('.json')}"
        for org in root.iterdir()
        if org.is_dir()
        for f in org.iterdir()
        if f.name.endswith(".json")
    )


def model_config(name: str) -> dict[str, Any]:
    """The config.json facts of a bundled model; KeyError if there is none."""
    if name not in model_names():
        raise KeyError(name)
    config: dict[str, Any] = json.loads(files(__name__).joinpath("models", f"{name}.json").read_text())
    return config

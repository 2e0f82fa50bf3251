"""The configuration of ``fabric``: which devices, which links, which layout."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ...base import Config
from ...catalog import Interconnect, interconnect, interconnect_names
from .topology import Memory, Tier

RINGS = ("ring", "torus", "direct", "hierarchical")
#: By kind, those there are.
ALGORITHMS = {
    "all_reduce": (*RINGS, "one-shot", "two-shot", "tree", "halving-doubling", "in-network"),
    "all_gather": RINGS,
    "reduce_scatter": RINGS,
    "all_to_all": ("direct",),
    "broadcast": ("pipeline",),
    "send": ("send",),
}

#: How far off collectives are on links of figures of one's own: a guess to one digit.
PLAIN_ERROR = 0.3


class Level(Config):
    """Links of one level: a catalog interconnect, or plain figures, which replace the catalog's."""

    type: str | None = Field(default=None, description="catalog interconnect, e.g. nvlink4")
    bandwidth_gb_s: float | None = Field(default=None, gt=0, description="per device and direction, decimal")
    latency_ns: float | None = Field(default=None, ge=0, description="of one hop between two devices")

    @field_validator("type")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in interconnect_names():
            raise ValueError(f"no such interconnect; the catalog has {', '.join(interconnect_names())}")
        return name

    @model_validator(mode="after")
    def _enough(self) -> Level:
        if self.type is None and (self.bandwidth_gb_s is None or self.latency_ns is None):
            raise ValueError("give a type, or bandwidth_gb_s and latency_ns")
        return self

    def link(self) -> Interconnect:
        """The catalog's figures with what is given here in place of them; without a type, a plain link."""
        rate = self.bandwidth_gb_s * 1e9 if self.bandwidth_gb_s else None
        if self.type is None:
            latency = self.latency_ns or 0.0
            return Interconnect(
                "plain", rate or 0.0, 0, 0, latency, latency, 1.0, 0, None, None, None, None, None, PLAIN_ERROR, {}
            )
        known = interconnect(self.type)
        hop = known.hop_ns if self.latency_ns is None else self.latency_ns
        bulk = known.bulk_hop_ns + hop - known.hop_ns
        return replace(known, bandwidth=rate or known.bandwidth, hop_ns=hop, bulk_hop_ns=bulk)


class ScaleOut(Level):
    """Links between nodes."""

    topology: Literal["switch", "fat-tree", "rail-optimised"] = "switch"
    nics_per_node: int | None = Field(default=None, ge=1, description="adapters a node; default: one a device")
    radix: int = Field(default=32, ge=1, description="fat tree: adapters a leaf switch")
    oversubscription: float = Field(default=1, gt=0, description="fat tree: bandwidth below a leaf over that above")


class DeviceGroup(Config):
    """Devices of one node."""

    name: str
    count: int = Field(ge=1)


class MemoryConfig(Config):
    """A memory that sends and receives: of a node (NODE.kind), or of all of them (a name without a dot)."""

    name: str
    read_gb_s: float = Field(gt=0, description="out of it, decimal")
    write_gb_s: float = Field(gt=0, description="into it, decimal")
    bandwidth_gb_s: float = Field(gt=0, description="both ways together, decimal")
    latency_ns: float = Field(default=0, ge=0, description="of one access, beside its bytes")
    loaded_latency: list[tuple[float, float, float]] = Field(
        default=[], description="[share of reads, GB/s, ns] under load"
    )

    def memory(self) -> Memory:
        rows = tuple((share, rate * 1e9, ns) for share, rate, ns in self.loaded_latency)
        rates = (self.read_gb_s * 1e9, self.write_gb_s * 1e9, self.bandwidth_gb_s * 1e9)
        return Memory(self.name, *rates, self.latency_ns, rows)


class NetworkConfig(Level):
    """One network; the scenario fills in all of it from ``cluster.networks``."""

    groups: list[DeviceGroup] = Field(min_length=1)
    topology: Literal["switch", "ring", "fully-connected", "torus", "pcie"] = "switch"
    dims: list[Annotated[int, Field(ge=1)]] = Field(default=[], description="torus: devices along each dimension")
    scale_out: ScaleOut | None = None
    energy_pj_per_bit: float | None = Field(default=None, ge=0)
    memories: list[MemoryConfig] = Field(
        default=[], description="beside the devices; they take topology switch or pcie"
    )

    def groups_as_pairs(self) -> list[tuple[str, int]]:
        return [(group.name, group.count) for group in self.groups]

    def group_names(self) -> str:
        return ", ".join([*(group.name for group in self.groups), *(memory.name for memory in self.memories)])

    def tiers(self) -> tuple[Tier, Tier | None]:
        """(within a node or flat, between nodes)."""
        inner = Tier(self.link(), self.topology, tuple(self.dims))
        out = self.scale_out
        if out is None:
            return inner, None
        return inner, Tier(out.link(), out.topology, (), out.nics_per_node or 0, out.radix, out.oversubscription)


class FabricConfig(NetworkConfig):
    """The network, and how collectives are done."""

    algorithms: dict[str, str] = Field(default={}, description="kind -> algorithm to use instead of the quickest")
    custom_all_reduce: bool = Field(
        default=True, description="small all-reduces by reading peers' memory, as vLLM does; false: NCCL alone"
    )

    @field_validator("algorithms")
    @classmethod
    def _of_kinds(cls, algorithms: dict[str, str]) -> dict[str, str]:
        for kind, algorithm in algorithms.items():
            if kind not in ALGORITHMS:
                raise ValueError(f"{kind} is no kind; there are {', '.join(ALGORITHMS)}")
            if algorithm not in ALGORITHMS[kind]:
                raise ValueError(f"{kind} has no {algorithm}; there are {', '.join(ALGORITHMS[kind])}")
        return algorithms

    @model_validator(mode="after")
    def _adapters(self) -> FabricConfig:
        most, asked = max(group.count for group in self.groups), self.scale_out and self.scale_out.nics_per_node
        if asked and asked > most:
            raise ValueError(f"scale_out.nics_per_node = {asked}: its nodes have {most} devices at most, of one each")
        return self

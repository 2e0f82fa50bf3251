"""Memories of the scenario beside the devices' own: of a node, or of the whole cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Annotated

from metronome.hwmodels.catalog.memory_parts import memory_names, memory_part
from metronome.hwmodels.catalog.pim_parts import pim_names, pim_part
from pydantic import Field, field_validator, model_validator

from ..strict import Strict, did_you_mean
from ..units import MOST_GIB
from .names import Name

OWN = ("dram", "cxl", "nvme")  # what a node may have of its own
MOST_PIM = 65536
Row = tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """What moves in and out of a memory, in decimal GB/s: one way, the other, and both together; ns of an access."""

    read_gb_s: float
    write_gb_s: float
    bandwidth_gb_s: float
    latency_ns: float


class Memory(Strict):
    """A part of the catalog by ``type``, or plain figures, which replace the catalog's."""

    type: str | None = Field(default=None, description="catalog memory, e.g. ddr5-5600, cxl2-x8, nvme-gen5")
    channels: int | None = Field(default=None, ge=1, le=1024, description="of that type, side by side; default: 1")
    size_gib: float | None = Field(
        default=None, gt=0, le=MOST_GIB, description="what K and V, and weights off the device, may fill"
    )
    bandwidth_gb_s: float | None = Field(default=None, ge=1e-6, description="both ways together, decimal gigabytes/s")
    read_gb_s: float | None = Field(default=None, ge=1e-6, description="out of it; default: bandwidth_gb_s")
    write_gb_s: float | None = Field(default=None, ge=1e-6, description="into it; default: bandwidth_gb_s")
    latency_ns: float | None = Field(
        default=None, ge=0, le=1e12, description="of one access, beside its bytes; default: 0"
    )
    loaded_latency: list[Row] | None = Field(
        default=None,
        min_length=1,
        description="[share of reads, GB/s, ns] under load, or the CSV file of them: where latency rises, and to where",
    )
    energy_pj_per_bit: float | None = Field(default=None, ge=0, description="of bytes moved; default: not known")

    @field_validator("type")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in memory_names():
            hint = did_you_mean(name, memory_names())
            raise ValueError(f"{hint}the catalog's memories: {', '.join(memory_names())}")
        return name

    @field_validator("loaded_latency")
    @classmethod
    def _rises(cls, rows: list[Row] | None) -> list[Row] | None:
        if rows is None:
            return None
        ordered = sorted(rows)
        for share, some in groupby(ordered, key=lambda row: row[0]):
            points = list(some)
            for (_, before, low), (_, after, high) in pairwise(points):
                if high < low or after == before:
                    what = "falls" if high < low else "has two latencies"
                    where = f"at read share {share:g}, {before:g} to {after:g} GB/s"
                    raise ValueError(f"{what} {where} ({low:g} to {high:g} ns): a latency never falls under more load")
            if not points[-1][1]:
                raise ValueError(f"needs a bandwidth above 0 at read share {share:g}")
        return ordered

    @model_validator(mode="after")
    def _enough(self) -> Memory:
        if self.channels is not None and (self.type is None or not memory_part(self.type).channels):
            raise ValueError("channels: goes with a type that the catalog has by the channel, e.g. ddr5-5600")
        known = self.type or self.loaded_latency or self.bandwidth_gb_s
        if not known and (self.read_gb_s is None or self.write_gb_s is None):
            raise ValueError("give a type, a bandwidth_gb_s, or read_gb_s and write_gb_s")
        return self

    def figures(self) -> MemoryFigures:
        """The catalog's, then the loaded-latency curve's, then what is given here."""
        read = write = both = latency = 0.0
        if self.type is not None:
            part, times = memory_part(self.type), (self.channels or 1) / 1e9
            read, write, both, latency = part.read * times, part.write * times, part.both * times, part.latency_ns
        if self.loaded_latency:
            rows = self.loaded_latency
            read = max(rate for share, rate, _ in rows if share == rows[-1][0])
            write = max(rate for share, rate, _ in rows if share == rows[0][0])
            both, latency = max(rate for _, rate, _ in rows), min(ns for _, _, ns in rows)
        if self.bandwidth_gb_s is not None:
            read = write = both = self.bandwidth_gb_s
        read, write = self.read_gb_s or read, self.write_gb_s or write
        both = self.bandwidth_gb_s or both or read + write
        return MemoryFigures(read, write, both, latency if self.latency_ns is None else self.latency_ns)


class ClusterMemory(Memory):
    """A memory that several hosts reach: a switched pool, a remote store."""

    name: Name = Field(description="unique among memories and networks; networks connect it by this name")

    @field_validator("name")
    @classmethod
    def _no_nodes(cls, name: str) -> str:
        if name in OWN:
            raise ValueError(f"{', '.join(OWN)} are memories of nodes: give it another name")
        return name


class Pim(Strict):
    """Memory that computes, beside each accelerator of a node; what is not given is the part's or the model's."""

    devices_per_accelerator: int = Field(ge=1, le=MOST_PIM, description="of equal ones beside each accelerator")
    part: str = Field(default="gddr6-aim", description="catalog PIM part: its timing, its size")
    size_gib: float | None = Field(
        default=None, gt=0, le=MOST_GIB, description="of one, for what it holds; default: the part's"
    )
    bandwidth_gb_s: float | None = Field(default=None, ge=1e-6, description="inside one device at most, decimal")
    tflops: float | None = Field(default=None, gt=0, description="of one device at most")
    link_gb_s: float | None = Field(default=None, gt=0, description="in and out of one device, decimal")
    latency_ns: float | None = Field(default=None, ge=0, le=1e12, description="of one operation, beside its bytes")

    @field_validator("part")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in pim_names():
            hint = did_you_mean(name, pim_names())
            raise ValueError(f"{hint}the catalog's PIM parts: {', '.join(pim_names())}")
        return name

    def size_bytes(self) -> int:
        """Of all devices beside one accelerator."""
        size = self.size_gib or pim_part(self.part).size_gib or 0
        return int(size * 2**30) * self.devices_per_accelerator


class NodeMemory(Strict):
    """Memories of a node beside its accelerators' own; networks connect them as NODE.dram, NODE.cxl, NODE.nvme."""

    dram: Memory | None = Field(
        default=None, description="of the host: read for token ids, written for sampled tokens; absent: not simulated"
    )
    cxl: Memory | None = Field(default=None, description="an expander of this host")
    nvme: Memory | None = Field(default=None, description="drives of this host")
    pim: Pim | None = Field(default=None, description="for `decode_attention: pim`, `gemv: pim`")

    def tiers(self) -> dict[str, Memory]:
        """Those that networks can connect, by kind."""
        found = {"dram": self.dram, "cxl": self.cxl, "nvme": self.nvme}
        return {kind: memory for kind, memory in found.items() if memory is not None}


def on_one_network(networks: Iterable[tuple[str, Iterable[str]]], memories: Collection[str]) -> None:
    """Networks, by name and what they connect, know nothing of one another: on two a memory would have its bandwidth
    twice. Raises ValueError."""
    taken: dict[str, str] = {}
    for i, (network, connected) in enumerate(networks):
        for name in connected:
            if name in memories and taken.setdefault(name, network) != network:
                raise ValueError(
                    f"networks.{i}.connects = '{name}': is on network {taken[name]} already, and a memory's "
                    "bandwidth is of one: connect all who reach it in one (scale_out: the links between nodes)"
                )

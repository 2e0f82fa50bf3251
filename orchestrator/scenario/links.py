"""Networks of a scenario, and the figures of their links."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from metronome.hwmodels.catalog import interconnect_names, node_links
from pydantic import Field, model_validator

from ..strict import Strict
from .names import Name


class Links(Strict):
    """Figures of links: a catalog interconnect by ``type``, or plain ones, which replace the catalog's."""

    open: ClassVar[bool] = False  # whether it may say none

    type: str | None = Field(default=None, description="catalog interconnect, e.g. nvlink4")
    bandwidth_gb_s: float | None = Field(default=None, ge=1e-6, description="per device and direction, decimal")
    latency_ns: float | None = Field(default=None, ge=0, le=1e12, description="of one message over a link")

    @property
    def says_links(self) -> bool:
        """Whether it says any of them; a network that does not has the usual ones of its devices."""
        return any(figure is not None for figure in (self.type, self.bandwidth_gb_s, self.latency_ns))

    @model_validator(mode="after")
    def _enough(self) -> Links:
        lacking = self.type is None and (self.bandwidth_gb_s is None or self.latency_ns is None)
        if lacking and (self.says_links or not self.open):
            raise ValueError("give a type, or bandwidth_gb_s and latency_ns")
        if self.type is not None and self.type not in interconnect_names():
            raise ValueError(f"type '{self.type}' is not in the catalog: {', '.join(interconnect_names())}")
        return self


def usual_topology(kind: str | None) -> str:
    """Of a network that says its links, by their type or by figures, and not how they are laid out: over PCIe a switch,
    too."""
    found = node_links(kind)["topology"] if kind and kind in interconnect_names() else "switch"
    return "switch" if found == "pcie" else found


def misfit(kind: str | None, topology: str | None, dims: bool) -> str:
    """Why links of that type, or plain ones, cannot be laid out so; empty where they can. ``dims``: some are given."""
    usual = usual_topology(kind)
    if dims and (topology or usual) != "torus":
        return f"dims are of topology torus, this is {topology or usual}"
    if usual == "torus" and topology not in (None, "torus", "ring"):
        return f"{kind} joins neighbours: topology torus (the default) or ring"
    if topology in ("switch", "pcie") and usual == "fully-connected":
        return f"{kind} joins two devices each: topology fully-connected (the default), ring or torus"
    return ""


class ScaleOut(Links):
    """The links between nodes; those of the network itself are then within nodes."""

    topology: Literal["switch", "fat-tree", "rail-optimised"] = Field(default="switch", description="between nodes")
    nics_per_node: int | None = Field(default=None, ge=1, description="default: one a device")
    radix: int = Field(default=32, ge=1, description="fat tree: adapters a leaf switch")
    oversubscription: float = Field(default=1, gt=0, description="fat tree: bandwidth below a leaf over that above")

    @model_validator(mode="after")
    def _of_its_topology(self) -> ScaleOut:
        if self.topology != "fat-tree" and (self.radix != 32 or self.oversubscription != 1):
            raise ValueError(f"radix and oversubscription are of topology fat-tree, this is {self.topology}")
        if usual_topology(self.type) != "switch":
            raise ValueError(f"{self.type} joins the devices of a node, not nodes")
        return self


class Network(Links):
    """One interconnect; bandwidth is per device and direction. Without links it has the usual ones of its devices."""

    open = True

    name: Name = Field(description="unique among networks")
    connects: list[str] = Field(min_length=1, description="accelerators and memories, e.g. n0.accelerators, n0.dram")
    topology: Literal["switch", "ring", "fully-connected", "torus", "pcie"] | None = Field(
        default=None, description="between the accelerators it connects; default: as such links are, mostly a switch"
    )
    dims: list[Annotated[int, Field(ge=1)]] = Field(default=[], description="torus: devices along each dimension")
    scale_out: ScaleOut | None = Field(default=None, description="the links between nodes, where they are others")
    energy_pj_per_bit: float | None = Field(default=None, ge=0, description="of bytes moved; default: not known")

    @model_validator(mode="after")
    def _of_its_topology(self) -> Network:
        if self.says_links and (wrong := misfit(self.type, self.topology, bool(self.dims))):
            raise ValueError(wrong)
        return self

"""``alpha-beta``: latency plus bytes over bandwidth, collectives by the ring algorithm, no contention.

The ring costs are the classic ones (Thakur, Rabenseifner, Gropp, "Optimization of Collective
Communication Operations in MPICH", 2005): with p ranks, m bytes and hop(x) = alpha + x / beta,

* all_reduce of m:      2 (p-1) hop(m/p)          * broadcast of m: (p-1) pipelined hops of one part
* reduce_scatter of m:    (p-1) hop(m/p)            of m/(p-1), drained: 2 (p-1) - 1 hops of m/(p-1)
* all_gather of m each:   (p-1) hop(m)            * send of m: hop(m)
* all_to_all of m each:   (p-1) hop(m/p)
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ..base import Config, Estimate, OracleModel
from ..interface import (
    PS_PER_NS,
    PS_PER_S,
    Description,
    Provenance,
    Template,
    TimePolicy,
    UnsupportedOperation,
)


class AlphaBetaConfig(Config):
    """Link figures; bandwidth is per device and direction, in decimal gigabytes a second."""

    bandwidth_gb_s: float = Field(gt=0)
    latency_ns: float = Field(ge=0)
    energy_pj_per_bit: float | None = Field(default=None, ge=0)
    scale_out: dict[str, Any] | None = Field(default=None, description="refused: links between nodes are fabric's")


class AlphaBeta(OracleModel[AlphaBetaConfig]):
    """Ring collectives and point-to-point transfers on an idle network."""

    description = Description(
        name="alpha-beta",
        kind="network",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"send", "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"}),
        summary="latency + bytes/bandwidth, ring collectives, no contention",
    )

    def check_template(self, template: Template) -> None:
        if self.config.scale_out is not None:
            raise UnsupportedOperation("alpha-beta", template, "knows one kind of link, not scale_out: use fabric")
        if int(template.attributes["participants"]) < 2:
            raise UnsupportedOperation("alpha-beta", template, "fewer than 2 participants")

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        size = values[0]
        hops, part = ring(template.kind, int(template.attributes["participants"]), size)
        hop_ps = self.config.latency_ns * PS_PER_NS + part / (self.config.bandwidth_gb_s * 1e9) * PS_PER_S
        energy = self.config.energy_pj_per_bit
        return Estimate(
            max(1, round(hops * hop_ps)),
            Provenance.MODELLED,
            # Of a send only every other participant sends.
            None if energy is None else round(hops * part * 8 * energy / (2 if template.kind == "send" else 1)),
        )


def ring(kind: str, ranks: int, size: int) -> tuple[int, float]:
    """(hops one after another, bytes each hop carries)."""
    if kind == "send":
        return 1, size
    if kind == "all_reduce":
        return 2 * (ranks - 1), size / ranks
    if kind == "all_gather":
        return ranks - 1, size
    if kind == "broadcast":
        return 2 * (ranks - 1) - 1, size / (ranks - 1)
    return ranks - 1, size / ranks  # reduce_scatter, all_to_all

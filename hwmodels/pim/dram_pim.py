"""``dram-pim``: attention of decodes by multiply-accumulate units in DRAM, from the part's timing.

Queries of one head are in one channel: its score is a product with K, its result one with V. Of each product a unit
takes a burst of one operand a command, so a head of ``size`` numbers over ``context`` tokens needs, of each product,

    ceil(context / parallel) x ceil(size / (together x lanes))    commands,

``lanes`` = numbers in a burst. Where the units are decides the rest (Park et al., "AttAcc! Unleashing the power of PIM
for batched transformer-based generative model inference", ASPLOS 2024):

- *bank*: a unit a bank; a group's banks share a head's numbers, everything above shares its tokens; commands go to all
  banks, ``tccd_all_banks`` apart. Every ``columns`` commands all banks change their row: tRTP + tRP + tRCD.
- *bank-group*: a unit a group, whose banks take turns, so that a row is opened while the others are read.
- *buffer*: a unit a pseudo-channel on the buffer die; bank groups take turns, ``tccd_s`` apart.

Channels refresh for tRFC of every tREFI. Heads of all sequences are dealt evenly over the channels of all devices;
their contexts are taken as their mean. Softmax, and vectors on their way between buffers, are hidden behind another
head's products. Each query head reads K and V anew: units multiply one vector at a time, whoever else shares them.
Queries, new K and V, results, and K and V of prompts go over the pins before that. Not modelled: the limit on
activations (tFAW), and the accelerator's own accesses to the same banks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..base import Config, Estimate, OracleModel
from ..interface import DTYPE_BYTES, PS_PER_NS, PS_PER_S, Description, Provenance, Template, TimePolicy, Use
from .part import Part, part, read_ini

#: the worst P90 of the error against AttAcc's cycle-level simulator (docs/pim.md); real parts were not compared
RELATIVE_ERROR = 0.09


class DramPimConfig(Config):
    """``devices`` of one part work for one accelerator."""

    server_side: ClassVar[frozenset[str]] = frozenset({"ini"})

    devices: int = Field(ge=1)
    part: str = Field(default="hbm3-pim", description="a part of the catalog")
    ini: Path | None = Field(default=None, description="a DRAMsim3 configuration in place of a part")
    channels: int | None = Field(default=None, ge=1, description="of a device, if other than the part says")
    units: Literal["bank", "bank-group", "buffer"] = "bank"
    power_constraint: bool = Field(default=True, description="all banks at once only as often as their power allows")
    host_link_gb_s: float | None = Field(default=None, gt=0, description="to each device; default: its pins")
    operation_ns: float = Field(default=0, ge=0, description="of one operation, beside its data")


class DramPim(OracleModel[DramPimConfig]):
    """The PIM devices of one accelerator."""

    description = Description(
        name="dram-pim",
        kind="pim",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"attention"}),
        summary="decode attention by units in DRAM, from its timing: bank, bank group or buffer",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        given = self.config
        self._part = read_ini(given.ini) if given.ini else part(given.part)
        self._channels = (given.channels or self._part.channels) * given.devices
        pins = self._part.pins_gb_s * (given.channels or self._part.channels) / self._part.channels
        self._link = (given.host_link_gb_s or pins) * 1e9 * given.devices

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        return {"relative_error": {"modelled": RELATIVE_ERROR}}

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        at = template.attributes
        heads, kv_heads, size = int(at["heads"]), int(at["kv_heads"]), int(at["head_size"])
        width, kv_width = DTYPE_BYTES[str(at["dtype"])], DTYPE_BYTES[str(at["kv_dtype"])]
        decodes, context_sum = values[0], values[1]
        over_pins = decodes * 2 * heads * size * width
        over_pins += (decodes + sum(values[4::2])) * 2 * kv_heads * size * kv_width
        busy_ps = over_pins / self._link * PS_PER_S + self.config.operation_ns * PS_PER_NS
        if decodes:
            turns = -(-decodes * heads // self._channels)
            context = -(-context_sum // decodes) + 1  # each new token also attends to itself
            busy_ps += turns * head_cycles(self._part, self.config, context, size, kv_width) * self._part.tck_ps
        return Estimate(max(1, round(busy_ps)), Provenance.MODELLED)


def head_cycles(of: Part, config: DramPimConfig, context: int, size: int, kv_width: float) -> float:
    """Cycles a channel takes for one head: both products, its rows, and its share of refresh."""
    lanes = max(1, int(of.burst_bytes / kv_width))
    apart = of.tccd_all_banks if config.power_constraint else of.tccd_l
    parallel, together, in_turn = of.pseudo_channels * of.ranks * of.bank_groups, 1, of.banks_per_group
    if config.units == "bank":
        together, in_turn = of.banks_per_group, 1
    elif config.units == "buffer":
        parallel, apart = of.pseudo_channels, of.tccd_s
        in_turn = of.ranks * of.bank_groups * of.banks_per_group
    commands = -(-context // parallel) * -(-size // (together * lanes))
    rows = -(-commands // of.columns)
    change = max(0, of.trtp + of.trp + of.trcd - (in_turn - 1) * of.columns * apart)
    return 2 * (commands * apart + rows * change) * of.trefi / (of.trefi - of.trfc)


__all__: Sequence[str] = ("DramPim", "DramPimConfig")

"""``dram-pim``: products with vectors by multiply-accumulate units in DRAM, from the part's timing: the attention of
decodes, and a layer's matrices times few vectors (GEMV, kind ``gemm``).

K and V of one KV head of a sequence are in one channel, and so are the query heads that share them: a head's score is a
product with K, its result one with V. Of each product a unit takes a burst of one operand a command, so a head of
``size`` numbers over ``context`` tokens needs, of each product,

    ceil(context / parallel) x ceil(size / (together x lanes))    commands,

``lanes`` = numbers in a burst. Where the units are decides the rest (Park et al., "AttAcc! Unleashing the power of PIM
for batched transformer-based generative model inference", ASPLOS 2024):

- *bank*: a unit a bank; a group's banks share a head's numbers, everything above shares its tokens; commands go to all
  banks, ``tccd_all_banks`` apart. Every ``columns`` commands all banks change their row: tRTP + tRP + tRCD.
- *bank-pair*: the same with a unit for two banks that are opened together, so a row lasts twice as long.
- *bank-group*: a unit a group, whose banks take turns, so that a row is opened while the others are read.
- *rank*: a unit a rank, in a buffer chip; all its banks take turns, ``tccd_s`` apart.
- *buffer*: a unit a pseudo-channel on the buffer die; the banks of all its ranks take turns, ``tccd_s`` apart.

Where a part opens four banks of a rank in tFAW, the last bank is open ceil(banks / 4) - 1 such windows after the first;
units whose banks take turns wait where rows are read faster than they may be opened.

Channels refresh for tRFC of every tREFI. KV heads of all sequences are dealt evenly over the channels of all devices;
their contexts are taken as their mean. Query heads that share K and V each read them anew (``grouped_queries: apart``,
as AttAcc's units, which multiply one vector at a time), or take turns in each open row, so that it is opened once
(``row``), or one reading is for all of them (``together``: units as wide as a group).

Where the part does softmax, it is hidden behind another head's products, as are vectors on their way between buffers;
where the host does it, scores go over the pins, and come back. The host's own time for it is not counted.

Queries, new K and V, results and scores of a decode go over the pins of the channels that its KV heads are in, one
after another in the fullest: a channel has its share of the pins, or of ``link_gb_s``. K and V of prompts, and of their
cached tokens, which the accelerator reads back, go over the pins of all channels, as it is not known of how many
sequences they are. All this is before the units' work.

A matrix of n x k weights is dealt by its rows evenly over the channels of all devices, and lies in each as a K of n /
channels tokens and k numbers does: its product with a vector takes the commands of a score. Each channel gets the whole
vector over its own pins before that, and its outputs are read back over them after. Vectors are multiplied one after
another: each reads the matrix anew, or, by units that hold several (``grouped_queries`` not ``apart``), they take
turns in each open row; how wide a unit is that reads once for a group of query heads says nothing of a batch's vectors.
Not modelled: a buffer that is shorter than the vector (partial sums would be read out and put back), and several
matrices at once.

Energy, where the part has figures for it: rows opened in the banks of all units, bits from cells to units and over the
pins, multiplications. Not modelled: tRAS, which is over before a row has been read, refresh's energy, other accesses
by the accelerator.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from ..base import Config, Estimate, OracleModel
from ..catalog.pim_parts import PimPart, Units, pim_part
from ..interface import (
    DTYPE_BYTES,
    PS_PER_NS,
    PS_PER_S,
    ConfigError,
    Description,
    Provenance,
    Template,
    TimePolicy,
    Use,
)
from .ini import read_ini

COMPARED = "hbm3-pim"
#: the worst P90 of its error against AttAcc's cycle-level simulator (docs/pim.md); real parts were not compared
RELATIVE_ERROR = 0.09
#: of every other part: a guess
NOT_COMPARED = 0.3
#: banks that may be opened in tFAW
ACTIVATES = 4
#: how several vectors are multiplied with the same numbers (`DramPimConfig.grouped_queries`)
Sharing = Literal["apart", "row", "together"]


class DramPimConfig(Config):
    """``devices`` of one part work for one accelerator."""

    server_side: ClassVar[frozenset[str]] = frozenset({"ini"})

    devices: int = Field(ge=1)
    part: str = Field(default="gddr6-aim", description="a part of the catalog")
    ini: Path | None = Field(default=None, description="a DRAMsim3 configuration in place of a part")
    channels: int | None = Field(default=None, ge=1, description="of a device, if other than the part says")
    units: Units | None = Field(default=None, description="where they are, if other than the part says")
    power_constraint: bool = Field(default=True, description="all units at once only as often as their power allows")
    grouped_queries: Sharing = Field(
        default="apart",
        description="query heads that share K and V: each reads them anew, in turn in each open row, or one for all",
    )
    bandwidth_gb_s: float | None = Field(default=None, gt=0, description="of all units of a device at most, decimal")
    tflops: float | None = Field(default=None, gt=0, description="of all units of a device at most")
    link_gb_s: float | None = Field(default=None, gt=0, description="to each device, decimal; default: its pins")
    latency_ns: float = Field(default=1000, ge=0, description="of one operation, beside its data; a guess")


class DramPim(OracleModel[DramPimConfig]):
    """The PIM devices of one accelerator."""

    description = Description(
        name="dram-pim",
        kind="pim",
        version="1",
        time_policy=TimePolicy.ORACLE,
        op_kinds=frozenset({"attention", "gemm"}),
        summary="decode attention and GEMV by units in DRAM, from its timing: bank, bank group, rank or buffer",
    )

    def __init__(self, config: Any = None, seed: int = 0) -> None:
        super().__init__(config, seed)
        given = self.config
        self._part = _part(given)
        per_device = given.channels or self._part.channels
        self._channels = per_device * given.devices
        self._units = Arrangement(self._part, given)
        pins = self._part.pins_gb_s * per_device / self._part.channels
        self._link = (given.link_gb_s or pins) * 1e9 * given.devices

    def statistics(self, uses: Sequence[Use] = ()) -> dict[str, Any]:
        compared = self.config.part == COMPARED and not self.config.ini
        compared &= all(template.kind == "attention" for template in self.templates.values())
        return {"relative_error": {"modelled": RELATIVE_ERROR if compared else NOT_COMPARED}}

    def estimate(self, template: Template, values: tuple[int, ...]) -> Estimate:
        busy_ps, energy_pj = (self._attention if template.kind == "attention" else self._gemv)(template, values)
        known = self._part.energy is not None
        return Estimate(max(1, round(busy_ps)), Provenance.MODELLED, round(energy_pj) if known else None)

    def _attention(self, template: Template, values: tuple[int, ...]) -> tuple[float, float]:
        """(ps, pJ)"""
        at = template.attributes
        heads, kv_heads, size = int(at["heads"]), int(at["kv_heads"]), int(at["head_size"])
        width, kv_width = DTYPE_BYTES[str(at["dtype"])], DTYPE_BYTES[str(at["kv_dtype"])]
        decodes, context_sum = values[0], values[1] + values[0]  # each new token also attends to itself
        prompts = sum(values[4:]) * 2 * kv_heads * size * kv_width  # bytes of K and V, wherever they are
        busy_ps = prompts / self._link * PS_PER_S + self.config.latency_ns * PS_PER_NS
        moved, kept, energy_pj = prompts, prompts, 0.0
        if decodes:
            turns = -(-decodes * kv_heads // self._channels)  # KV heads in the fullest channel
            context, queries = -(-context_sum // decodes), -(-heads // kv_heads)
            busy_ps += turns * self._units.cycles(context, size, kv_width, queries) * self._part.tck_ps
            energy_pj = decodes * kv_heads * self._units.energy_pj(context, size, kv_width, queries)
            scores = int(self._part.softmax == "host")  # go over the pins, and come back
            over_pins = 2 * queries * (size + scores * context) * width + 2 * size * kv_width  # bytes of a KV head
            busy_ps += turns * over_pins / (self._link / self._channels) * PS_PER_S
            new = decodes * 2 * kv_heads * size * kv_width
            moved += 2 * heads * (decodes * size + scores * context_sum) * width + new
            kept += new
        energy_pj += self._pins_pj(moved, kept)
        return busy_ps, energy_pj

    def _gemv(self, template: Template, values: tuple[int, ...]) -> tuple[float, float]:
        """(ps, pJ) of a matrix times each of so many vectors; the fullest channel is the last."""
        at, (vectors,) = template.attributes, values
        outputs, inputs, width = int(at["n"]), int(at["k"]), DTYPE_BYTES[str(at["dtype"])]
        in_channel = -(-outputs // self._channels)
        working = -(-outputs // in_channel)  # channels
        over_pins = vectors * (inputs + in_channel) * width * self._channels  # as if all were as full
        busy_ps = over_pins / self._link * PS_PER_S + self.config.latency_ns * PS_PER_NS
        energy_pj = self._pins_pj(vectors * (inputs * working + outputs) * width, 0)
        if vectors:
            product = self._units.gemv(in_channel, inputs, width, vectors)
            busy_ps += self._units.refreshed(product.cycles) * self._part.tck_ps
            energy_pj += working * self._units.product_pj(product, width)
        return busy_ps, energy_pj

    def _pins_pj(self, moved: float, kept: float) -> float:
        """Of so many bytes over the pins, of which so many are written to cells or read from them, a row at a time."""
        energy = self._part.energy
        return 0.0 if energy is None else 8 * (moved * energy.to_host + kept * (energy.activate + energy.cell))


class Product(NamedTuple):
    """Commands of one channel for one product.

    ``commands`` read K or V once; ``columns`` of them are in a row; ``in_row`` vectors are multiplied with each,
    ``apart`` cycles from one to the next, and all of it is done ``passes`` times. ``change``: cycles that a row adds.
    """

    commands: int
    columns: int
    in_row: int
    passes: int
    apart: float
    change: float

    @property
    def rows(self) -> int:
        return -(-self.commands // self.columns)

    @property
    def cycles(self) -> float:
        """Without refresh."""
        return self.passes * (self.commands * self.in_row * self.apart + self.rows * self.change)


class Arrangement:
    """The units of one channel of a part, and how long they take.

    Attributes:
        apart: cycles between two commands to all of them.
        units: how many there are.
        at: where they are.
        in_turn: banks that a unit reads in turn, so that rows are opened while others are read.
    """

    def __init__(self, of: PimPart, config: DramPimConfig) -> None:
        self._of, self._config = of, config
        self.at: Units = config.units or of.units
        at, in_rank = self.at, of.bank_groups * of.banks_per_group
        #: units that share a context's tokens, units that share a head's numbers
        self._parallel, self._together = of.pseudo_channels * of.ranks * of.bank_groups, 1
        self.in_turn, self._columns = 1, of.columns
        self.apart = float(of.tccd_all_banks if config.power_constraint else of.tccd_l)
        opened: float = in_rank  # banks of a rank that change their rows at the same time
        if at == "bank":
            self._together = of.banks_per_group
        elif at == "bank-pair":
            self._together, self._columns = max(1, of.banks_per_group // 2), 2 * of.columns
        elif at == "bank-group":
            self.in_turn, opened = of.banks_per_group, of.bank_groups
        elif at == "rank":
            self._parallel, self.in_turn, self.apart = of.pseudo_channels * of.ranks, in_rank, of.tccd_s
            opened = 1
        else:
            self._parallel, self.in_turn, self.apart = of.pseudo_channels, of.ranks * in_rank, of.tccd_s
            opened = 1 / of.ranks
        self._opened = opened
        self.units = self._parallel * self._together

    def product(self, context: int, size: int, kv_width: float, queries: int = 1) -> Product:
        """What a channel does in one product of ``queries`` heads with the K, or the V, that they share."""
        return self._shared(self._config.grouped_queries, context, size, kv_width, queries)

    def gemv(self, outputs: int, inputs: int, width: float, vectors: int) -> Product:
        """What a channel does to multiply its ``outputs`` x ``inputs`` weights of ``width`` bytes with each vector."""
        how: Sharing = "apart" if self._config.grouped_queries == "apart" else "row"
        return self._shared(how, outputs, inputs, width, vectors)

    def _shared(self, how: Sharing, context: int, size: int, kv_width: float, queries: int) -> Product:
        lanes = max(1, int(self._of.burst_bytes / kv_width))
        commands = -(-context // self._parallel) * -(-size // (self._together * lanes))
        in_row = queries if how == "row" else 1
        apart = max(self.apart, self._at_most(kv_width, queries if how == "together" else 1))
        change = self._row_change(self._columns * apart * in_row)
        return Product(commands, self._columns, in_row, queries if how == "apart" else 1, apart, change)

    def cycles(self, context: int, size: int, kv_width: float, queries: int = 1) -> float:
        """Cycles a channel takes for ``queries`` heads that share one K and V: both products of each, their rows, and
        their share of refresh."""
        return 2 * self.refreshed(self.product(context, size, kv_width, queries).cycles)

    def refreshed(self, cycles: float) -> float:
        """With the share of all time that refresh takes."""
        return cycles * self._of.trefi / (self._of.trefi - self._of.trfc)

    def energy_pj(self, context: int, size: int, kv_width: float, queries: int = 1) -> float:
        """Of what `cycles` counts: rows opened in every unit's banks, bits from cells to units, multiplications.
        0 where the part does not say."""
        vectors = queries if self._config.grouped_queries == "together" else 1
        return 2 * self.product_pj(self.product(context, size, kv_width, queries), kv_width, vectors)

    def product_pj(self, product: Product, kv_width: float, vectors: int = 1) -> float:
        """The same of one product, of which each reading is for so many ``vectors``."""
        of = self._of
        if of.energy is None:
            return 0.0
        rows = product.passes * product.rows * self.units * product.columns * of.burst_bytes  # bytes opened
        read = product.passes * product.in_row * product.commands * self.units * of.burst_bytes  # bytes
        bits = 8 * (rows * of.energy.activate + read * of.energy.to_units(self.at))
        return bits + read / kv_width * vectors * of.energy.mac

    @property
    def closing(self) -> int:
        """Cycles from a row's last read to its precharge."""
        return self._of.trtp

    @property
    def opening(self) -> int:
        """Cycles from a row's activation to its first read, by the last bank that is opened for it."""
        return self._of.trcd + max(0, -(-int(self._opened) // ACTIVATES) - 1) * self._of.tfaw

    def _row_change(self, reading: float) -> float:
        """Cycles that changing a row adds to those of ``reading`` one."""
        of = self._of
        change = max(0.0, of.trtp + of.trp + self.opening - (self.in_turn - 1) * reading)
        if self.in_turn == 1:
            return change
        return max(change, self._opened * of.tfaw / ACTIVATES - reading)  # no faster than rows may be opened

    def _at_most(self, kv_width: float, vectors: int) -> float:
        """Cycles between two commands by ``bandwidth_gb_s`` and ``tflops``: two FLOPs a number and vector."""
        of, config = self._of, self._config
        read = (config.channels or of.channels) * self.units * of.burst_bytes
        seconds = read / (config.bandwidth_gb_s * 1e9) if config.bandwidth_gb_s else 0.0
        if config.tflops:
            seconds = max(seconds, 2 * vectors * read / kv_width / (config.tflops * 1e12))
        return seconds * PS_PER_S / of.tck_ps


def _part(config: DramPimConfig) -> PimPart:
    if config.ini:
        return read_ini(config.ini)
    try:
        return pim_part(config.part)
    except KeyError as error:
        raise ConfigError("part", config.part, f"{error.args[0]}; or give a DRAMsim3 file as ini") from None


__all__: Sequence[str] = ("Arrangement", "DramPim", "DramPimConfig", "Product")

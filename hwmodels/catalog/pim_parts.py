"""PIM parts as data: how their banks are organised, where their units are, and their DRAM timing in cycles."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from . import facts, names
from .refresh import check_refresh

Units = Literal["bank", "bank-pair", "bank-group", "rank", "buffer"]


class PimEnergy(BaseModel):
    """What a bit takes on its way, in pJ, and a multiplication.

    Attributes:
        activate: of a row that is opened and closed, for each of its bits.
        cell: read from an open row, or written to it.
        group: from there to its bank group's multiplexer.
        device: from there to that of the device's.
        stack: through the layers above the buffer die.
        pins: between the device and the host.
        mac: one multiplication and addition.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    activate: float = Field(ge=0)
    cell: float = Field(ge=0)
    group: float = Field(ge=0)
    device: float = Field(ge=0)
    stack: float = Field(ge=0)
    pins: float = Field(ge=0)
    mac: float = Field(ge=0)

    def to_units(self, units: Units) -> float:
        """pJ of a bit from its cell to the units that are there."""
        if units in ("bank", "bank-pair"):
            return self.cell
        beyond = self.device + self.stack if units in ("rank", "buffer") else 0.0
        return self.cell + self.group + beyond

    @property
    def to_host(self) -> float:
        """pJ of a bit between a bank group and the host."""
        return self.group + self.device + self.stack + self.pins


class PimPart(BaseModel):
    """Figures of one device; times in cycles of ``tck_ps``.

    Attributes:
        columns: bursts of ``burst_bytes`` in an open row of one bank.
        units: what one multiply-accumulate unit is for; ``buffer``: for a pseudo-channel, on the buffer die.
        softmax: who does it: the part, or the host, to which the scores go over the pins and come back.
        tccd_all_banks: cycles between two reads of all units at once, which their power or clock decides; without that
            limit it is ``tccd_l``.
        tfaw: cycles in which a rank opens four banks at most; 0: it opens all banks at once.
        size_gib: of the device, for K and V; None where only its organisation is known.
        pins_gb_s: of the whole device, decimal.
        energy: None where it is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tck_ps: float = Field(gt=0)
    channels: int = Field(ge=1)
    pseudo_channels: int = Field(default=1, ge=1)
    ranks: int = Field(default=1, ge=1)
    bank_groups: int = Field(ge=1)
    banks_per_group: int = Field(ge=1)
    columns: int = Field(ge=1)
    burst_bytes: int = Field(ge=1)
    units: Units = "bank"
    softmax: Literal["part", "host"] = "host"
    trcd: int = Field(ge=1)
    trp: int = Field(ge=1)
    trtp: int = Field(ge=1)
    tccd_s: int = Field(ge=1)
    tccd_l: int = Field(ge=1)
    tccd_all_banks: int = Field(ge=1)
    tfaw: int = Field(default=0, ge=0)
    trfc: int = Field(ge=0)
    trefi: int = Field(ge=1)
    size_gib: float | None = Field(default=None, gt=0)
    pins_gb_s: float = Field(gt=0)
    energy: PimEnergy | None = None
    sources: dict[str, str] = {}

    @field_validator("trefi")
    @classmethod
    def _has_time(cls, trefi: int, of: ValidationInfo) -> int:
        check_refresh(of.data.get("trfc", 0), trefi)
        return trefi


def pim_names() -> list[str]:
    return names("pims")


@cache
def pim_part(name: str) -> PimPart:
    """The catalog's part of that name; KeyError says what there is, the nearest name first."""
    if name not in pim_names():
        near = get_close_matches(name.lower(), pim_names(), 1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise KeyError(f"{guess}a PIM part of the catalog: {', '.join(pim_names())}")
    return PimPart.model_validate(facts("pims", name))

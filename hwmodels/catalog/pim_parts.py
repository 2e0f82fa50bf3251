"""PIM parts as data: how their banks are organised, where their units are, and their DRAM timing in cycles."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from . import facts, names

Units = Literal["bank", "bank-pair", "bank-group", "rank", "buffer"]


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
    sources: dict[str, str] = {}


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

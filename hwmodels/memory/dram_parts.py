"""DRAM parts as data: a file each in the catalog's `drams`, with where its figures are from. Times are clocks of the
part."""

from __future__ import annotations

from functools import cache

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from .. import catalog
from ..catalog.refresh import check_refresh


class Timing(BaseModel):
    """JEDEC's names without their t, in clocks; _s and _l: to another bank group, within one."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cl: int = Field(gt=0, description="read command to data")
    cwl: int = Field(gt=0, description="write command to data")
    rcd_rd: int = Field(gt=0, description="activate to read")
    rcd_wr: int = Field(gt=0, description="activate to write")
    rp: int = Field(gt=0, description="precharge to activate")
    ras: int = Field(gt=0, description="activate to precharge")
    rtp: int = Field(gt=0, description="read to precharge")
    wr: int = Field(gt=0, description="end of written data to precharge")
    ccd_s: int = Field(gt=0, description="column command to column command")
    ccd_l: int = Field(gt=0)
    ccd_l_wr: int = Field(gt=0, description="as ccd_l, between writes")
    rrd_s: int = Field(gt=0, description="activate to activate")
    rrd_l: int = Field(gt=0)
    faw: int = Field(gt=0, description="window of four activates")
    wtr_s: int = Field(gt=0, description="end of written data to read")
    wtr_l: int = Field(gt=0)
    turn: int = Field(ge=0, description="gap on the bus from read data to written data")
    rfc: int = Field(gt=0, description="a refresh of all banks")
    refi: int = Field(gt=0, description="from refresh to refresh")

    @field_validator("refi")
    @classmethod
    def _has_time(cls, refi: int, of: ValidationInfo) -> int:
        check_refresh(of.data.get("rfc", 0), refi)
        return refi


class Part(BaseModel):
    """Channels that share nothing, each of ``bank_groups`` x ``banks`` banks. ``burst``: clocks of a burst's data."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tck_ps: int = Field(gt=0)
    channels: int = Field(gt=0)
    width_bits: int = Field(gt=0, multiple_of=8)
    burst_length: int = Field(gt=0)
    burst: int = Field(gt=0)
    bank_groups: int = Field(gt=0)
    banks: int = Field(gt=0, description="in a group")
    row_bytes: int = Field(gt=0)
    timing: Timing
    source: str = ""

    @field_validator("row_bytes")
    @classmethod
    def _whole_bursts(cls, row_bytes: int, of: ValidationInfo) -> int:
        burst = of.data.get("width_bits", 0) // 8 * of.data.get("burst_length", 0)
        if burst and row_bytes % burst:
            raise ValueError(f"must be a multiple of a burst's {burst} bytes (width_bits / 8 x burst_length)")
        return row_bytes

    @property
    def burst_bytes(self) -> int:
        return self.width_bits // 8 * self.burst_length

    @property
    def bursts_a_row(self) -> int:
        return self.row_bytes // self.burst_bytes

    @property
    def peak_gb_s(self) -> float:
        """Of all channels, in decimal gigabytes a second."""
        return self.channels * self.burst_bytes / (self.burst * self.tck_ps) * 1e3


def names() -> list[str]:
    """Parts that have a file."""
    return catalog.names("drams")


@cache
def part(name: str) -> Part:
    """The part of that name. Raises KeyError with the names there are."""
    if name not in names():
        raise KeyError(f"one of {', '.join(names())}, or a part's figures")
    return Part.model_validate(catalog.facts("drams", name))

"""A PIM part as data: how its banks are organised, and its DRAM timing in cycles."""

from __future__ import annotations

import re
from configparser import ConfigParser, Error
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import catalog
from ..interface import ConfigError

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
#: our name, the names it has in a DRAMsim3 file
TIMING = {
    "trcd": ("tRCDRD", "tRCD"),
    "trp": ("tRP",),
    "trtp": ("tRTP_L", "tRTP"),
    "tccd_s": ("tCCD_S",),
    "tccd_l": ("tCCD_L",),
    "trfc": ("tRFC",),
    "trefi": ("tREFI",),
}


class Part(BaseModel):
    """Figures of one device; times in cycles of ``tck_ps``.

    Attributes:
        columns: bursts of ``burst_bytes`` in an open row of one bank.
        tccd_all_banks: cycles between two reads of all banks at once, which their power decides; without that limit
            it is ``tccd_l``.
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
    trcd: int = Field(ge=1)
    trp: int = Field(ge=1)
    trtp: int = Field(ge=1)
    tccd_s: int = Field(ge=1)
    tccd_l: int = Field(ge=1)
    tccd_all_banks: int = Field(ge=1)
    trfc: int = Field(ge=0)
    trefi: int = Field(ge=1)
    pins_gb_s: float = Field(gt=0)
    sources: dict[str, str] = {}


def names() -> list[str]:
    """Parts of the catalog."""
    return catalog.names("pims")


@cache
def part(name: str) -> Part:
    """The catalog's part of that name. Raises ConfigError."""
    if name not in names():
        raise ConfigError("part", name, f"one of {', '.join(names())}; or give a DRAMsim3 file as ini")
    return Part.model_validate(catalog.facts("pims", name))


def read_ini(path: Path) -> Part:
    """A part of a DRAMsim3 configuration file: one device of its channels. Raises ConfigError.

    Such a file says nothing of reads of all banks at once: they are as far apart as reads of one bank group.
    """
    reader = ConfigParser(inline_comment_prefixes=("#", ";"), interpolation=None)
    reader.optionxform = str  # type: ignore[method-assign,assignment]
    try:
        reader.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Error) as error:
        raise ConfigError("ini", str(path), f"cannot be read: {str(error).splitlines()[0]}") from None
    flat = {name: text for section in reader.sections() for name, text in reader[section].items()}

    def number(*known: str) -> float:
        for name in known:
            match = NUMBER.match(flat.get(name, ""))
            if match:
                return float(match.group())
        raise ConfigError("ini", str(path), f"has no number {' or '.join(known)}")

    width, burst = number("bus_width"), number("BL")
    facts: dict[str, Any] = {name: int(number(*known)) for name, known in TIMING.items()}
    facts |= {
        "tck_ps": number("tCK") * 1000,
        "channels": int(number("channels")),
        "bank_groups": int(number("bankgroups")),
        "banks_per_group": int(number("banks_per_group")),
        "columns": int(number("columns") // burst),
        "burst_bytes": int(burst * width // 8),
        "tccd_all_banks": facts["tccd_l"],
        "pins_gb_s": number("channels") * width / 8 * number("data_rate") / 1000,
        "sources": {"timing": path.name},
    }
    try:
        return Part.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError("ini", str(path), f"{first['loc'][0]}: {first['msg']}") from None

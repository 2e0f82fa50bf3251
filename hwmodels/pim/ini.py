"""A PIM part from a DRAMsim3 configuration."""

from __future__ import annotations

import re
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..catalog.pim_parts import PimPart
from ..interface import ConfigError

NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
#: our name, the names it has in a DRAMsim3 file
TIMING = {
    "trcd": ("tRCDRD", "tRCD"),
    "trp": ("tRP",),
    "trtp": ("tRTP_L", "tRTP"),
    "tccd_s": ("tCCD_S",),
    "tccd_l": ("tCCD_L",),
    "tfaw": ("tFAW",),
    "trfc": ("tRFC",),
    "trefi": ("tREFI",),
}


def read_ini(path: Path) -> PimPart:
    """A part of a DRAMsim3 configuration file: one device of its channels. Raises ConfigError.

    Such a file says nothing of units, and describes DRAM that opens four banks in tFAW: a unit is taken to be at every
    bank, reads of all banks as far apart as those of one bank group, and softmax to be the host's.
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
        return PimPart.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError("ini", str(path), f"{first['loc'][0]}: {first['msg']}") from None

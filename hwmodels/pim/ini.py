"""A PIM part from a DRAMsim3 configuration."""

from __future__ import annotations

import re
from configparser import ConfigParser, Error
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..catalog.dramsim3 import BITS_A_CYCLE, bits_a_cycle, words_of_a_column
from ..catalog.pim_parts import PimPart
from ..catalog.refresh import check_refresh
from ..interface import ConfigError

WHOLE = re.compile(r"0|[1-9]\d*")
#: what of a word is a whole number to DRAMsim3, whose INIReader calls strtol: hexadecimal, octal or decimal
STRTOL = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)")
REAL = re.compile(r"(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
#: all of its, but HMC
PROTOCOLS = ("DDR3", "DDR4", "LPDDR", "LPDDR3", "LPDDR4", *BITS_A_CYCLE, "HBM", "HBM2")
#: our name, the names it has in a DRAMsim3 file, and the least it may be
TIMING = {
    "trcd": (("tRCDRD", "tRCD"), 1),
    "trp": (("tRP",), 1),
    "trtp": (("tRTP_L", "tRTP"), 1),
    "tccd_s": (("tCCD_S",), 1),
    "tccd_l": (("tCCD_L",), 1),
    "tfaw": (("tFAW",), 0),
    "trfc": (("tRFC",), 0),
    "trefi": (("tREFI", "REFI"), 1),  # its files of DDR3 and LPDDR3 have the latter
}


class _File:
    """The keys of such a file, whatever their sections. Raises ConfigError, with the line that it does not like."""

    def __init__(self, path: Path) -> None:
        self._path = path
        reader = ConfigParser(inline_comment_prefixes=("#", ";"), interpolation=None)
        reader.optionxform = str  # type: ignore[method-assign,assignment]
        try:
            text = path.read_text(encoding="utf-8")
            reader.read_string(text)
        except (OSError, UnicodeDecodeError, Error) as error:
            raise self.refused(f"cannot be read: {str(error).splitlines()[0]}") from None
        self._lines = text.splitlines()
        self._flat = {name: text for section in reader.sections() for name, text in reader[section].items()}

    def refused(self, why: str) -> ConfigError:
        return ConfigError("ini", str(self._path), why)

    def wrong(self, name: str, allowed: str) -> ConfigError:
        here = (at for at, line in enumerate(self._lines, 1) if re.match(rf"\s*{re.escape(name)}\s*[=:]", line))
        return self.refused(f"line {next(here, 0)}: {name} = {self._flat[name]}: {allowed}")

    def word(self, *names: str) -> tuple[str, str]:
        """The first of these names that is there, and the first word of its value; what follows is a remark."""
        for name in names:
            if value := self._flat.get(name, ""):
                return name, value.split()[0]
        raise self.refused(f"has no {' or '.join(names)}")

    def has(self, name: str) -> bool:
        return bool(self._flat.get(name))

    def whole(self, *names: str, least: int = 1) -> int:
        """As it is written out: of 3.9e3 DRAMsim3 reads 3, of 010 it reads 8, and neither may be meant."""
        name, word = self.word(*names)
        allowed = f"must be a whole number of at least {least}, in digits alone"
        if not WHOLE.fullmatch(word):
            found = STRTOL.match(word)
            base = 10 if not found or found[1][0] != "0" else 16 if "x" in found[0].lower() else 8
            raise self.wrong(name, f"{allowed}; DRAMsim3 reads {int(found[0], base) if found else 'its default'}")
        if int(word) < least:
            raise self.wrong(name, allowed)
        return int(word)

    def real(self, name: str) -> float:
        _, word = self.word(name)
        if not REAL.fullmatch(word) or not 0 < float(word) < float("inf"):
            raise self.wrong(name, "must be a number greater than 0")
        return float(word)


def read_ini(path: Path) -> PimPart:
    """A part of a DRAMsim3 configuration file: one device of its channels. Raises ConfigError.

    Keys mean what they mean to DRAMsim3 (its ``src/configuration.cc``): a column of HBM is two words of the bus, one of
    GDDR a burst, one of all others a word; a channel has as many ranks as go into its ``channel_size``, one at least;
    pins move 2 bits a cycle, GDDR5's 4, GDDR5X's 8, GDDR6's 16, or ``data_rate`` (MT/s; LLMServingSim's files say it);
    reads of different bank groups are a burst's data apart at least; where ``bankgroup_enable`` is false, those within
    a group are as far apart as those of different ones. What it has a default for has to be in the file.

    Ranks work side by side, as those of the catalog's parts: they share a context's tokens, each opens its own four
    banks in tFAW, and all share the pins.

    Such a file says nothing of units, and describes DRAM that opens four banks in tFAW: a unit is taken to be at every
    bank, reads of all banks as far apart as those of one bank group, and softmax to be the host's.
    """
    file = _File(path)
    _, protocol = file.word("protocol")
    if protocol not in PROTOCOLS:
        raise file.wrong("protocol", f"must be one of {', '.join(PROTOCOLS)}")
    width, device, burst = file.whole("bus_width"), file.whole("device_width"), file.whole("BL")
    words = words_of_a_column(protocol, burst)
    columns = file.whole("columns") * words
    if columns % burst:
        raise file.wrong("columns", f"a row of {columns} words of the bus must be whole bursts of BL = {burst}")
    if width % device:
        raise file.wrong("bus_width", f"must be a multiple of device_width = {device}")
    if width * burst % 8:
        raise file.wrong("bus_width", f"a burst of BL = {burst} must be whole bytes")
    groups, banks = file.whole("bankgroups"), file.whole("banks_per_group")
    rank = columns * width // 8 * file.whole("rows") * groups * banks  # bytes
    bits = bits_a_cycle(protocol)
    facts: dict[str, Any] = {name: file.whole(*known, least=least) for name, (known, least) in TIMING.items()}
    try:
        check_refresh(facts["trfc"], facts["trefi"])
    except ValueError as error:
        raise file.wrong(file.word(*TIMING["trefi"][0])[0], str(error)) from None
    facts["tccd_s"] = max(facts["tccd_s"], burst // bits)
    if file.has("bankgroup_enable") and file.word("bankgroup_enable")[1].lower() in ("false", "no", "off", "0"):
        facts["tccd_l"] = facts["tccd_s"]
        facts["trtp"] = file.whole("tRTP_S", "tRTP")
    tck_ns, channels = file.real("tCK"), file.whole("channels")
    rate = file.real("data_rate") / 1000 if file.has("data_rate") else bits / tck_ns  # Gb/s of a pin
    facts |= {
        "tck_ps": tck_ns * 1000,
        "channels": channels,
        "ranks": max(1, file.whole("channel_size") * 2**20 // rank),
        "bank_groups": groups,
        "banks_per_group": banks,
        "columns": columns // burst,
        "burst_bytes": width * burst // 8,
        "tccd_all_banks": facts["tccd_l"],
        "pins_gb_s": channels * width / 8 * rate,
        "sources": {"timing": path.name},
    }
    try:
        return PimPart.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        raise file.refused(": ".join([*map(str, first["loc"]), first["msg"]])) from None

"""DRAMsim3's .ini of a device, as the tool reads it (src/configuration.cc)."""

from __future__ import annotations

import re
from functools import cached_property
from math import prod
from pathlib import Path

from metronome.hwmodels.catalog.dramsim3 import words_of_a_column
from metronome.hwmodels.interface import ConfigError

from .base import read

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


class Ini:
    """Values by name, whatever their section. Raises ConfigError, field `config`."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.text = read(path)
        if self.value("protocol", "DDR3") == "HMC":
            raise ConfigError("config", self._path, "protocol HMC has vaults, not channels: not done here")
        self.number("tCK", 1.0)  # of what is no number the tool takes its default, and says nothing

    def value(self, name: str, default: str) -> str:
        """What stands behind a name, comments left out."""
        found = re.search(rf"(?m)^\s*{name}\s*=\s*([^;#\n]*)", self.text)
        return found[1].strip() if found and found[1].strip() else default

    def number(self, name: str, default: float) -> float:
        """What follows a number (``0.666 (1/1.5)``) counts for nothing."""
        text = self.value(name, str(default))
        found = NUMBER.match(text)
        if found is None or float(found[0]) <= 0:
            raise ConfigError("config", self._path, f"{name} = {text}: no positive number")
        return float(found[0])

    def whole(self, name: str, default: int) -> int:
        return int(self.number(name, default))

    @cached_property
    def _counts(self) -> dict[str, int]:
        """How many there are of each field of an address, by the field's two letters: columns in requests."""
        protocol, burst, width = self.value("protocol", "DDR3"), self.whole("BL", 8), self.whole("device_width", 8)
        columns = self.whole("columns", 1024) * words_of_a_column(protocol, burst)
        rows, groups, banks = self.whole("rows", 1 << 16), self.whole("bankgroups", 2), self.whole("banks_per_group", 2)
        if self.value("bankgroup_enable", "true").lower() in ("false", "no", "off", "0"):
            groups, banks = 1, groups * banks
        bank_mib = columns * width // 8 * (rows // 1024) // 1024
        rank_mib = bank_mib * groups * banks * (self.whole("bus_width", 64) // width)
        ranks = max(1, self.whole("channel_size", 1024) // rank_mib) if rank_mib else 1
        channels = self.whole("channels", 1)
        return {"ch": channels, "ra": ranks, "bg": groups, "ba": banks, "ro": rows, "co": max(1, columns // burst)}

    @property
    def requests(self) -> int:
        """As many as there are places for, of all channels."""
        return prod(self._counts.values())

    @property
    def open_rows(self) -> int:
        """Requests in one row of every bank."""
        return self.requests // self._counts["ro"]

    def step(self, field: str) -> int:
        """Requests from one place to the same of the next ``ch``annel, or of a bank's next ``ro``w."""
        mapping = self.value("address_mapping", "chrobabgraco")
        fields = [mapping[at : at + 2] for at in range(0, len(mapping), 2)]
        if sorted(fields) != sorted(self._counts):
            allowed = f"address_mapping = {mapping}: each of {', '.join(self._counts)} once"
            raise ConfigError("config", self._path, allowed)
        return prod(self._counts[other] for other in fields[fields.index(field) + 1 :])

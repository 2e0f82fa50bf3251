"""What a protocol means in DRAMsim3's configuration files (its ``src/configuration.cc``)."""

from __future__ import annotations

#: Bits of a pin in a clock cycle; of all others, 2.
BITS_A_CYCLE = {"GDDR5": 4, "GDDR5X": 8, "GDDR6": 16}


def bits_a_cycle(protocol: str) -> int:
    """Of a pin."""
    return BITS_A_CYCLE.get(protocol, 2)


def words_of_a_column(protocol: str, burst: int) -> int:
    """Of the bus: of GDDR a burst (``BL``), of HBM two, of all others one."""
    return burst if protocol in BITS_A_CYCLE else 2 if protocol in ("HBM", "HBM2") else 1

"""What a device draws while a kernel runs: its multiprocessors being busy, the bytes it moves, the FLOPs it does.

    joules = busy x seconds + energy of a byte x bytes + energy of a FLOP x FLOPs

At a lower clock the first and the last fall with the square of the voltage, and being busy with the clock, too; bytes
do not: memory has a clock of its own. The voltage follows the clock down to a floor (Guerreiro et al., "GPGPU Power
Modeling for Multi-Domain Voltage-Frequency Scaling", HPCA 2018, measured that shape); where the floor is, is a guess.

A device without figures for this draws its limit whenever it is busy. All is above what it draws awake with nothing to
do, which is counted for as long as it is (`metronome.orchestrator.power`). A kernel may draw more than the board's
limit: what the board holds to it is the mean of some tenths of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..catalog import Device
from ..interface import DTYPE_BYTES

#: Share of the voltage at full clock below which it does not go: a guess, to one digit.
LOWEST_VOLTAGE = 0.7
#: Shares of the full clock that a device can be held at, from full speed on.
CLOCKS = tuple(percent / 100 for percent in range(100, 14, -1))


def voltage(clock: float) -> float:
    """Share of the full voltage at a share of the full clock."""
    return max(LOWEST_VOLTAGE, clock)


@dataclass(frozen=True, slots=True)
class Draw:
    """Above standby: W of a busy device, pJ of a byte to or from memory, pJ of a FLOP in 16 bits."""

    busy_w: float
    byte_pj: float
    flop_pj: float

    @classmethod
    def of(cls, device: Device) -> Draw:
        busy = device.active_w if device.busy_w is None else device.busy_w
        return cls(busy - device.standby_w, device.pj_per_byte, device.pj_per_flop)

    def pj(self, busy_ps: float, flops: float, moved: float, dtype: str, clock: float = 1) -> int:
        """Of one operation that keeps the device busy so long, does so many FLOPs in ``dtype``, moves so many bytes.

        W x ps = pJ. A FLOP's energy follows the width of its operands: at the same limit boards do twice as many in
        8 bits.
        """
        if clock == 1:
            return self.full_pj(busy_ps, flops, moved, DTYPE_BYTES[dtype])
        switched = self.busy_w * busy_ps * clock + self.flop_pj * flops * DTYPE_BYTES[dtype] / 2
        return round(switched * voltage(clock) ** 2 + self.byte_pj * moved)

    def full_pj(self, busy_ps: float, flops: float, moved: float, width: float) -> int:
        """The same at the full clock, of operands of so many bytes."""
        return round(self.busy_w * busy_ps + self.flop_pj * flops * width / 2 + self.byte_pj * moved)

    def full_pj_each(self, busy_ps: Sequence[float], work: Sequence[tuple[float, float]], width: float) -> list[int]:
        """The same of several, each of so many FLOPs and bytes; who is busy for less than nothing is not."""
        busy_w, flop_pj, byte_pj = self.busy_w, self.flop_pj, self.byte_pj
        return [
            round(busy_w * (busy if busy > 0 else 0.0) + flop_pj * flops * width / 2 + byte_pj * moved)
            for busy, (flops, moved) in zip(busy_ps, work, strict=True)
        ]

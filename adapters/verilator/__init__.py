"""``verilator``: a small systolic array in SystemVerilog, simulated register by register."""

from .model import RtlArray

__all__ = ["RtlArray"]

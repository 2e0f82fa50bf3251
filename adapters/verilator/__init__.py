"""A small systolic array in SystemVerilog, simulated register by register: ``verilator``, and with a memory beside it
``verilator-mem``."""

from .fetching import RtlFetching
from .model import RtlArray

__all__ = ["RtlArray", "RtlFetching"]

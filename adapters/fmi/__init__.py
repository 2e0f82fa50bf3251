"""Co-simulation units of FMI 2.0 and 3.0 as components: ``fmi``, a memory, and ``fmi-network``, the way to one."""

from .model import FmiMemory, FmiNetwork

__all__ = ["FmiMemory", "FmiNetwork"]

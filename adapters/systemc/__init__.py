"""TLM-2.0 targets of anybody's as memories: ``systemc``, and ``systemc-lasting``, which keeps its state."""

from .model import Lasting, SystemC

__all__ = ["Lasting", "SystemC"]

"""Any command-line simulator as a component, by configuration alone."""

from .model import Accelerator, Memory, Network, Pim

__all__ = ["Accelerator", "Memory", "Network", "Pim"]

"""``scalesim``: SCALE-Sim 3, cycle by cycle, for every tile of an array."""

from .model import ScaleSim

__all__ = ["ScaleSim"]
